# STL10-LT: labeled images of 10 classes (450 to 45, imbalance factor 10; 150 and factor 20 are usual too), 100,000
# unlabeled images of unknown classes, 8,000 balanced test images; all shrunk from 96 to 32 px. An epoch is 500
# iterations of 64 labeled and 64 unlabeled images.
_base_ = '../pipelines/cifar_fixmatch.py'
data_preprocessor = dict(
    type='ltmm.SemiSupervisedDataPreprocessor',
    num_classes=10,
    mean=[112.4, 109.1, 98.6],
    std=[68.4, 66.6, 68.5],
    to_rgb=False,
)
shrink = dict(type='Resize', scale=(32, 32), backend='pillow')
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    collate_fn=dict(type='ltmm.semi_supervised_collate'),
    sampler=dict(type='ltmm.SemiSupervisedSampler', ratio=(1, 1), length=64000),
    dataset=dict(
        type='ltmm.SemiSupervised',
        labeled=dict(
            type='ltmm.LongTailed',
            imbalance_factor=10,
            max_images=450,
            dataset=dict(type='ltmm.STL10', split='train', pipeline=[shrink, *_base_.weak_pipeline]),
        ),
        unlabeled=dict(type='ltmm.STL10', split='unlabeled', pipeline=[shrink, *_base_.one_strong_pipeline]),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.STL10', split='test', pipeline=[shrink, dict(type='PackInputs')], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric')
test_evaluator = val_evaluator
