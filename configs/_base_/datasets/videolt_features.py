# VideoLT as features of an image network, (T, D) per video; head: more than 500 videos, tail: fewer than 100.
data_preprocessor = dict(num_classes=1004)
dataset = dict(type='ltmm.VideoFeatureDataset', data_root='videolt', classes='classes.txt')
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=dict(type='ltmm.collate_features'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, ann_file='train.lst', features='features'),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    collate_fn=dict(type='ltmm.collate_features'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, ann_file='test.lst', features='features', test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric', thresholds=(500, 100))
test_evaluator = val_evaluator
