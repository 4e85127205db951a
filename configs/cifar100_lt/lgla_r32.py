_base_ = ['./ride_r32.py', '../_base_/pipelines/cifar_weak_strong.py']
model = dict(
    backbone=dict(channels=(16, 32, 64), shortcut='concat'),
    head=dict(in_channels=64, loss=dict(_delete_=True, type='ltmm.LGLALoss', tau=2.5)),
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.strong_pipeline}})))
optim_wrapper = dict(optimizer=dict(weight_decay=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, begin=0, end=6),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
