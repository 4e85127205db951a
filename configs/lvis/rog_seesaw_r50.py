# On top of Seesaw, with cosine classifiers of boxes and masks, 2x
_base_ = './rog_r50.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(type='NormedLinear'),  # scale 20
            loss_cls=dict(loss=dict(_delete_=True, type='ltmm.SeesawLoss')),
        ),
        mask_head=dict(predictor_cfg=dict(type='NormedConv2d')),
    )
)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=501),  # as mmcv
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22]),
]
train_cfg = dict(max_epochs=24, val_interval=24)
