# The 33 + 27 photos of lvis_mini as a multi-label set of 80 classes; normalised for the caffe ResNet-50 (BGR).
data_root = '{{$LTMM_DATA_ROOT:data}}/lvis_mini/'
data_preprocessor = dict(num_classes=80, mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0], to_rgb=False)
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
    batch_size=8,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ltmm.DetectionAsMultiLabel',
        data_root=data_root,
        ann_file='annotations/lvis_v1_train.json',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ltmm.DetectionAsMultiLabel',
        data_root=data_root,
        ann_file='annotations/lvis_v1_val.json',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.MultiLabelMetric')
test_evaluator = val_evaluator
