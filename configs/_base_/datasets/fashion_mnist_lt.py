# FashionMNIST-LT: 14,886 gray 28x28 training images at imbalance factor 100 (6,000 to 60 per class), 10,000 balanced
# test images.
data_preprocessor = dict(num_classes=10, mean=[72.94], std=[90.02], to_rgb=False)
train_pipeline = [
    dict(type='RandomCrop', crop_size=28, padding=2),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ltmm.LongTailed',
        imbalance_factor=100,
        dataset=dict(type='ltmm.FashionMNIST', split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.FashionMNIST', split='test', pipeline=[dict(type='PackInputs')], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric')
test_evaluator = val_evaluator
