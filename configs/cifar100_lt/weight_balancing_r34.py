# Weight balancing as published, see weight_balancing_r32.
_base_ = './weight_balancing_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r34_wd5e-3.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=34),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=512),
)
