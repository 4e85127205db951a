_base_ = './softmax_r50_2x_v0.5.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            cls_predictor_cfg=dict(type='NormedLinear'),  # 20 times the cosine
            loss_cls=dict(_delete_=True, type='ltmm.SeesawLoss'),
        )
    )
)
