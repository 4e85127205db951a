# On top of Seesaw, with cosine classifiers of boxes and masks
_base_ = './rog_r50_2x_v0.5.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(type='NormedLinear'),  # 20 times the cosine
            loss_cls=dict(loss=dict(_delete_=True, type='ltmm.SeesawLoss')),
        ),
        mask_head=dict(predictor_cfg=dict(type='NormedConv2d')),
    )
)
