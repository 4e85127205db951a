# ATSS R50-FPN, 1x, boxes
_base_ = './eqlv2_retinanet_r50.py'

model = dict(
    type='ATSS',
    neck=dict(start_level=1, add_extra_convs='on_output'),
    bbox_head=dict(
        type='ltmm.ATSSHead',
        anchor_generator=dict(ratios=[1.0], octave_base_scale=8, scales_per_octave=1),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
