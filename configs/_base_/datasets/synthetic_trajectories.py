# Synthetic walks, 8 steps observed and 12 to predict; 3% turn, 1.5% stop, 0.5% turn round.
dataset_type = 'ltmm.SyntheticTrajectories'
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type=dataset_type, num_tracks=5000, seed=0),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    dataset=dict(type=dataset_type, num_tracks=10000, seed=1),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
val_evaluator = dict(type='ltmm.MinADEFDEMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
