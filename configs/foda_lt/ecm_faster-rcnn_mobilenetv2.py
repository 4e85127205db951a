_base_ = './softmax_faster-rcnn_mobilenetv2.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            cls_predictor_cfg=dict(type='NormedLinear'),  # scale 20
            loss_cls=dict(_delete_=True, type='ltmm.ECMLoss'),
        )
    )
)
