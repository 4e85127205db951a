# First stage of weight balancing as published: ce_r32_wd5e-3 with a ResNet-34 and 320 epochs.
_base_ = './ce_r32_wd5e-3.py'
model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=34),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=512),
)
train_cfg = dict(max_epochs=320)
