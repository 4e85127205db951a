# The authors' recipe for Focal-SAM with the logit-adjusted loss (github.com/scongl/Focal-SAM @86c13c6).
_base_ = './ce_r32.py'
model = dict(
    type='ltmm.FocalSAMClassifier',
    rho=0.3,
    gamma=3.2,
    sharpness=0.8,
    head=dict(loss=dict(_delete_=True, type='ltmm.LogitAdjustmentLoss', tau=0.75)),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR')]
auto_scale_lr = dict(base_batch_size=64)
