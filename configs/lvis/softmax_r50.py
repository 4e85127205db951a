# Mask R-CNN R50-FPN, 1x, softmax, each image once per epoch, the baseline of all methods
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn_lvis.py',
    '../_base_/datasets/lvis_v1.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/det_runtime.py',
]
train_cfg = dict(val_interval=12)
