_base_ = './softmax_r50_2x_v0.5.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.EQLLoss', lambda_=0.00177),  # 915 of 1,230 classes are tail
        )
    )
)
