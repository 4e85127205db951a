# NCL: three whole networks. Its schedule is stepped before each epoch, so it is one epoch ahead.
_base_ = ['./ride_r50.py', '../_base_/pipelines/ncl_224.py']
model = dict(
    backbone=dict(channels=(64, 128, 256, 512), expert_stages=(0, 1, 2, 3), separate_stem=True),
    head=dict(
        in_channels=2048,
        classifier=dict(scale=32.0, bias=True),
        loss=dict(_delete_=True, type='ltmm.NCLLoss', num_hard=2442),
    ),
)
train_dataloader = dict(drop_last=True, dataset=dict(pipeline={{_base_.strong_pipeline}}))
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR', reaches_zero=True, eta_min=1e-4)
train_cfg = dict(max_epochs=400)
