# The first stage of cc_sam_r32.py. Its network in the authors' code has one block less in the last stage.
_base_ = './ce_r32.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='ltmm.CCSAMLoss')), train_cfg=dict(augments=dict(type='Mixup', alpha=1.0))
)
train_dataloader = dict(batch_size=64, drop_last=True)  # as the authors do
param_scheduler = [
    dict(type='LinearLR', start_factor=7 / 15, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[159, 179], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=64)
