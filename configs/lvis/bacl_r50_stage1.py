# BACL, first stage: Faster R-CNN with one sigmoid per class, half the weight decay, boxes
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/lvis_v1.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/det_runtime.py',
]
loss_cls = dict(_delete_=True, type='ltmm.SigmoidCrossEntropyLoss')
model = dict(
    roi_head=dict(bbox_head=dict(type='ltmm.Shared2FCBBoxHead', num_classes=1203, loss_cls=loss_cls)),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
optim_wrapper = dict(optimizer=dict(weight_decay=5e-5))
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(val_interval=12)
