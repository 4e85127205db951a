_base_ = './sade_rx50.py'
model = dict(
    backbone=dict(channels=(64, 128, 256, 512)),  # full width
    head=dict(in_channels=2048, loss=dict(_delete_=True, type='ltmm.BalPoELoss', taus=(0.0, 1.25, 2.5))),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.3)),
)
