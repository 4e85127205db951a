_base_ = './ride_r50.py'
model = dict(
    backbone=dict(channels=(64, 128, 256, 512)),  # full width
    head=dict(in_channels=2048, loss=dict(_delete_=True, type='ltmm.BalPoELoss', taus=(-1.0, 1.0, 3.0))),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
)
param_scheduler = dict(_delete_=True, type='CosineAnnealingLR', T_max=100)
