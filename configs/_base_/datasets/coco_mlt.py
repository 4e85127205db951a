# COCO-MLT: 1,909 training images with 80 classes (1,128 to 6 per class, 4.4 per image), tested on COCO's val2017; the
# pipelines of github.com/wutong16/DistributionBalancedLoss. Papers select models on the test set.
data_preprocessor = dict(num_classes=80, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ltmm.PhotoMetricDistortion'),
    dict(type='ltmm.RandomSideCrop'),
    dict(type='Resize', scale=(224, 224)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(224, 224)),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ltmm.PartialLabels',
        missing_rate=0.0,
        dataset=dict(type='ltmm.COCOMLT', split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.COCOMLT', split='test', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.MultiLabelMetric')
test_evaluator = val_evaluator
