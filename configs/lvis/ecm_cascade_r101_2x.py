# Cascade Mask R-CNN, 2x
_base_ = './seesaw_cascade_r101_2x.py'

model = dict(
    roi_head=dict(
        bbox_head=[dict(head, loss_cls=dict(type='ltmm.ECMLoss')) for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(predictor_cfg=dict(type='NormedConv2d')),
    )
)
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=1e-3))
optim_wrapper = dict(clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=10001),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[20, 22]),
]
