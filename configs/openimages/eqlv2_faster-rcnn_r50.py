_base_ = './softmax_faster-rcnn_r50.py'

model = dict(
    roi_head=dict(bbox_head=dict(type='ltmm.Shared2FCBBoxHead', loss_cls=dict(_delete_=True, type='ltmm.EQLv2Loss')))
)
