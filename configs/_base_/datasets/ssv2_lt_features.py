# SSv2-LT as features of a video network, (D,) or (T, D) per video; few-shot classes have at most 20 videos.
data_preprocessor = dict(num_classes=174)
dataset = dict(type='ltmm.VideoFeatureDataset', data_root='ssv2_lt', classes='labels.json')
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=dict(type='ltmm.collate_features'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, ann_file='train.json', features='features'),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    collate_fn=dict(type='ltmm.collate_features'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, ann_file='validation.json', features='features', test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric', convention='oltr')
test_evaluator = val_evaluator
