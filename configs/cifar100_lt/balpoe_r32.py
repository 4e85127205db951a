_base_ = './sade_r32.py'
model = dict(
    backbone=dict(channels=(16, 32, 64)),
    head=dict(in_channels=64, loss=dict(_delete_=True, type='ltmm.BalPoELoss', taus=(0.0, 1.0, 2.0))),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.4)),
)
