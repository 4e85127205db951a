# The first stage of MiSLAS (github.com/dvlab-research/MiSLAS @0fc381e): cross entropy with mixup, and the weight decay
# that its README recommends.
_base_ = './ce_r32.py'
model = dict(train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)))
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.1),
]
