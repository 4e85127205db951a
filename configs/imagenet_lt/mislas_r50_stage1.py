# The first stage of MiSLAS (github.com/dvlab-research/MiSLAS @0fc381e): cross entropy with mixup, 180 epochs.
_base_ = './ce_r50.py'
model = dict(train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)))
train_dataloader = dict(batch_size=32)  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.1))
train_cfg = dict(max_epochs=180)
auto_scale_lr = dict(base_batch_size=256)
