_base_ = './softmax_r50.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.EQLLoss', lambda_=0.0011),  # 815 of 1,203 classes are tail
        )
    )
)
