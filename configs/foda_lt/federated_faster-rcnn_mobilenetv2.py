_base_ = './softmax_faster-rcnn_mobilenetv2.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.FederatedLoss', num_sampled_classes=12),  # of 31
        )
    )
)
