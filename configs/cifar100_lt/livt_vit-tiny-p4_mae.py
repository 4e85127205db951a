# Step 1 of LiVT: a masked auto-encoder on the images of CIFAR100-LT, without labels.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/mae_vit-tiny-p4.py',
    '../_base_/schedules/mae_800e.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(
    _delete_=True, type='SelfSupDataPreprocessor', mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255]
)
train_pipeline = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=5, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=128)
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
