# EQFL: GFL, repeat factor sampling, 2x, boxes
_base_ = './efl_atss_r50_2x.py'

model = dict(
    type='GFL',
    bbox_head=dict(
        type='ltmm.GFLHead',
        bbox_coder=dict(_delete_=True, type='DistancePointBBoxCoder'),
        loss_cls=dict(type='ltmm.EqualizedQualityFocalLoss'),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
    ),
)
