# BAGS, after the softmax: a new classifier alone. Run tools/train_stages.py with this config
_base_ = './crt_faster-rcnn_mobilenetv2.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.BalancedGroupSoftmaxLoss', group_bounds=(10, 100)),  # 3 to 300
        )
    )
)
train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
