# GLMC by the recipe of github.com/ynu-yangpeng/GLMC @2c0261c, which sets the rate after each epoch: epoch 0 runs at the
# full rate, epoch 1 at a tenth of it, and the warm-up goes on to 1.1 of it in epoch 11, before the cosine.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/glmc_resnext50.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/pipelines/weak_strong_224.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
views = dict(type='MultiView', num_views=[2], transforms=[{{_base_.weak}}])
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(num_classes=1000))
pipeline = [dict(type='LoadImageFromFile'), views, dict(type='PackInputs')]
train_dataloader = dict(batch_size=120, dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=1, end=11),
    dict(type='MultiStepLR', milestones=[11], gamma=1.1, end=12),
    dict(type='ltmm.ShiftedCosineLR', ahead=2, begin=12, end=136),
]
train_cfg = dict(max_epochs=135)
auto_scale_lr = dict(base_batch_size=120)
