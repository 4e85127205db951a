# ImageNet-127 in 32 px: a tenth of the 1,281,167 training images of each of the 127 classes labeled, the others without
# label; tested on 50,000 images with the same long tail, so look at long_tail/balanced_accuracy. An epoch is 500
# iterations of 64 labeled and 64 unlabeled images.
_base_ = '../pipelines/cifar_fixmatch.py'
data_preprocessor = dict(
    type='ltmm.SemiSupervisedDataPreprocessor',
    num_classes=127,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
load = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), interpolation='box', backend='pillow'),
]
images = dict(type='ltmm.ImageNet127', split='train')
split = dict(type='ltmm.Holdout', per_class=0.1)
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    collate_fn=dict(type='ltmm.semi_supervised_collate'),
    sampler=dict(type='ltmm.SemiSupervisedSampler', ratio=(1, 1), length=64000),
    dataset=dict(
        type='ltmm.SemiSupervised',
        labeled=dict(part='val', dataset=dict(pipeline=[*load, *_base_.weak_pipeline], **images), **split),
        unlabeled=dict(part='train', dataset=dict(pipeline=[*load, *_base_.one_strong_pipeline], **images), **split),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ltmm.ImageNet127', split='val', pipeline=[*load, dict(type='PackInputs')], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LongTailMetric')
test_evaluator = val_evaluator
