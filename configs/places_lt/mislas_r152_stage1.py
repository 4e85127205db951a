# The first stage of MiSLAS (github.com/dvlab-research/MiSLAS @0fc381e): mixup, one more residual block on the backbone,
# which is frozen.
_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    neck=[dict(type='ltmm.ResidualBlock', in_channels=2048), {{_base_.model.neck}}],
    head=dict(num_classes=365),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
train_dataloader = dict(batch_size=32)  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.1))
auto_scale_lr = dict(base_batch_size=256)
