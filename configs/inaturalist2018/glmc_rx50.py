# GLMC by the authors' recipe (github.com/ynu-yangpeng/GLMC @2c0261c), with the rates of imagenet_lt/glmc_rx50.py.
# Sampler and weights of the losses are those of ImageNet-LT: the authors name none for this data set.
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/glmc_resnext50.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
view = [dict(type='RandomResizedCrop', scale=224, backend='pillow'), dict(type='RandomFlip', prob=0.5)]
views = dict(type='MultiView', num_views=[2], transforms=[view])
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(num_classes=8142))
pipeline = [dict(type='LoadImageFromFile'), views, dict(type='PackInputs')]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=1, end=11),
    dict(type='MultiStepLR', milestones=[11], gamma=1.1, end=12),
    dict(type='ltmm.ShiftedCosineLR', ahead=2, begin=12, end=121),
]
train_cfg = dict(max_epochs=120)
auto_scale_lr = dict(base_batch_size=128)
