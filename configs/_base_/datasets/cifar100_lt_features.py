# CIFAR100-LT as features of an ImageNet ResNet-50 at 64 px, extracted once by
#   python tools/extract_features.py configs/cifar100_lt_features/resnet50_64px.py --out data/features_cifar100_r50_64px
data_preprocessor = dict(num_classes=100)
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=dict(type='ltmm.collate_features'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ltmm.LongTailed',
        imbalance_factor=100,
        dataset=dict(type='ltmm.FeatureDataset', data_root='features_cifar100_r50_64px', split='train'),
    ),
)
val_dataloader = dict(
    batch_size=1000,
    num_workers=0,
    collate_fn=dict(type='ltmm.collate_features'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.FeatureDataset', data_root='features_cifar100_r50_64px', split='test', test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric')
test_evaluator = val_evaluator
