# 1x, repeat factor sampling
_base_ = './softmax_r50.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.ROGLoss', loss=dict(type='ltmm.SigmoidCrossEntropyLoss')),
        )
    )
)
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=1e-3))

optim_wrapper = dict(clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=501),  # as mmcv
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11]),
]
