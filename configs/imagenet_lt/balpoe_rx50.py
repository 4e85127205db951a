_base_ = './sade_rx50.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='ltmm.BalPoELoss', taus=(0.0, 1.25, 2.5))),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.3)),
)
