# CIFAR100-LT: 10,847 training images at imbalance factor 100 (500 to 5 per class), 10,000 balanced test images.
data_preprocessor = dict(
    num_classes=100, mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255], to_rgb=False
)
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ltmm.LongTailed',
        imbalance_factor=100,
        dataset=dict(type='ltmm.CIFAR100', split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.CIFAR100', split='test', pipeline=[dict(type='PackInputs')], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric')
test_evaluator = [val_evaluator, dict(type='ltmm.CalibrationMetric')]
