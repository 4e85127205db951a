_base_ = './softmax_faster-rcnn_r50.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            # 250 of 500 classes are tail
            loss_cls=dict(_delete_=True, type='ltmm.EQLLoss', by='instance_counts', lambda_=1652),
        )
    )
)
