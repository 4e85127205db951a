# CIFAR-100 mosaics, 64x64: 4,199 training images with 50 classes (1,000 to 5 per class, 2.3 per image); 990 for
# validation, 3,077 for testing, balanced. Made by tools/dataset_tools/cifar100_mosaics.py.
data_preprocessor = dict(num_classes=50, mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255], to_rgb=False)
train_pipeline = [
    dict(type='RandomCrop', crop_size=64, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ltmm.PartialLabels',
        missing_rate=0.0,
        dataset=dict(type='ltmm.CIFAR100Mosaics', split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.CIFAR100Mosaics', split='val', pipeline=[dict(type='PackInputs')], test_mode=True),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.CIFAR100Mosaics', split='test', pipeline=[dict(type='PackInputs')], test_mode=True),
)
complete = dict(type='ltmm.CIFAR100Mosaics', split='train')
val_evaluator = dict(type='ltmm.MultiLabelMetric', class_counts=complete)  # head and tail of the complete labels
test_evaluator = val_evaluator
