# Images of rare classes more than once
_base_ = './softmax_rfs_r50_2x_v0.5.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.ROGLoss', loss=dict(type='ltmm.SigmoidCrossEntropyLoss')),
        )
    )
)

optim_wrapper = dict(clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22]),
]
