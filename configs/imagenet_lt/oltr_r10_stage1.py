# The first stage of OLTR: cross entropy, 30 epochs with batch size 128 (Liu et al., CVPR 2019).
_base_ = './ce_r10.py'
train_dataloader = dict(batch_size=16)  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = dict(_delete_=True, type='StepLR', step_size=10, gamma=0.1)
train_cfg = dict(max_epochs=30)
auto_scale_lr = dict(base_batch_size=128)
