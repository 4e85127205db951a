# LVIS v0.5, Mask R-CNN R50-FPN, 2x, each image once per epoch
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn_lvis.py',
    '../_base_/datasets/lvis_v0.5.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    '../_base_/det_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=1230), mask_head=dict(num_classes=1230)))
train_cfg = dict(val_interval=24)
