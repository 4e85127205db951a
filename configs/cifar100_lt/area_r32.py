# The recipe of github.com/xiaohua-chen/AREA @1c47197: batch size 64; the rate drops one epoch before the weights start.
_base_ = './ce_r32.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='ltmm.AREAReweighting', loss=dict(type='CrossEntropyLoss'), start_epoch=160),
    )
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[159, 179], gamma=0.01),
]
auto_scale_lr = dict(base_batch_size=64)
