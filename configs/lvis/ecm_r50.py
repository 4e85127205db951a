# Cosine classifiers of boxes and masks, repeat factor sampling
_base_ = './softmax_rfs_r50.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            cls_predictor_cfg=dict(type='NormedLinear'),  # scale 20
            loss_cls=dict(_delete_=True, type='ltmm.ECMLoss'),
        ),
        mask_head=dict(predictor_cfg=dict(type='NormedConv2d')),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=10001),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11]),
]
