# ETH and UCY, tested on the scene ETH, which the training has not seen.
dataset_type = 'ltmm.ETHUCYDataset'
train_dataloader = dict(
    batch_size=256,
    num_workers=0,
    dataset=dict(type=dataset_type, scene='eth', split='train'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    dataset=dict(type=dataset_type, scene='eth', split='val'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
val_evaluator = dict(type='ltmm.MinADEFDEMetric')
test_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    dataset=dict(type=dataset_type, scene='eth', split='test'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_evaluator = val_evaluator
