# 24 epochs
_base_ = './ecm_r50.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=10001),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[20, 22]),
]
train_cfg = dict(max_epochs=24, val_interval=24)
