# Deformable DETR with box refinement, one stage, 50 epochs, boxes
_base_ = './stepwise_deformable-detr_r50_stage0.py'

model = dict(
    as_two_stage=False,
    bbox_head=dict(
        type='ltmm.DeformableDETRHead',
        loss_cls=dict(_delete_=True, type='ltmm.EQLLoss', lambda_=0.0011, loss_weight=2.0),
    ),
)
