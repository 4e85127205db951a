# BalPoE's experts on a box head, with one layer each, for class distributions from long-tailed to inverse
_base_ = './softmax_faster-rcnn_mobilenetv2.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.MultiExpertBBoxHead',
            num_shared_fcs=1,
            num_cls_fcs=1,
            num_reg_fcs=1,
            loss_cls=dict(
                _delete_=True,
                type='ltmm.RoIExpertLoss',
                num_experts=3,
                loss=dict(type='ltmm.BalPoELoss', taus=(0.0, 1.0, 2.0)),
            ),
        )
    )
)
