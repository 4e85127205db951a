# Cascade Mask R-CNN R50-FPN, 1x; each stage accumulates its own gradients
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    '../_base_/datasets/lvis_v1.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/det_runtime.py',
]
model = dict(
    roi_head=dict(
        bbox_head=[
            dict(head, type='ltmm.Shared2FCBBoxHead', num_classes=1203, loss_cls=dict(type='ltmm.EQLv2Loss'))
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_head=dict(num_classes=1203),
    ),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
train_cfg = dict(val_interval=12)
