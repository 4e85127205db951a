# Faster R-CNN R50-FPN with mmdet's schedule for OpenImages: batch 64, 12 epochs, each image once per epoch
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/openimages_challenge2019.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/det_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=500)), test_cfg=dict(rcnn=dict(score_thr=0.01)))
optim_wrapper = dict(optimizer=dict(lr=0.08), clip_grad=dict(max_norm=35, norm_type=2))
warmup = dict(type='LinearLR', start_factor=1 / 64, by_epoch=False, begin=0, end=26000)
param_scheduler = [warmup, dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=64)
