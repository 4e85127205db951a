_base_ = './mdcs_r32.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.1),
]
train_cfg = dict(max_epochs=200)
