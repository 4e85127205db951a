# LGLA's experts on a box head, with cosine classifiers: two for regions of the class frequency, one for rare classes
_base_ = './experts_faster-rcnn_mobilenetv2.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(type='ltmm.NormedLinear', scale=30.0),
            loss_cls=dict(loss=dict(_delete_=True, type='ltmm.LGLALoss')),
        )
    )
)
