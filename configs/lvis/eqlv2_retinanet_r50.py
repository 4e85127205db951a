# RetinaNet R50-FPN, 1x, boxes
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/lvis_v1.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/det_runtime.py',
]
model = dict(
    bbox_head=dict(type='ltmm.RetinaHead', num_classes=1203, loss_cls=dict(_delete_=True, type='ltmm.EQLv2Loss')),
    test_cfg=dict(score_thr=1e-4, max_per_img=300),
)
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=10))
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(val_interval=12)
