# The first stage of shike_r32.py: learning rate 0.025, 0.05, ..., 0.15 in the first six epochs, then cosine.
_base_ = ['./ride_r32.py', '../_base_/pipelines/cifar_weak_strong.py']
model = dict(
    backbone=dict(_delete_=True, type='ltmm.SHIKEResNetCIFAR', depth=32, num_experts=3),
    head=dict(in_channels=64, loss=dict(_delete_=True, type='ltmm.SHIKELoss')),
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.strong_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=0.15, nesterov=False))
param_scheduler = [dict(type='LinearLR', start_factor=1 / 6, end=6), dict(type='CosineAnnealingLR', begin=5)]
train_cfg = dict(max_epochs=180)
