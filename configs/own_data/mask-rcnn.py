# Boxes and masks of your own in a COCO json; docs/start/own_boxes.md. Starts from a Mask R-CNN that knows COCO.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/own_boxes.py',
    '../_base_/schedules/own_data_20e.py',
]
pretrained = (
    'https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_mstrain-poly_3x_coco/'
    'mask_rcnn_r50_fpn_mstrain-poly_3x_coco_20210524_201154-21b550bb.pth'
)
load_from = '${pretrained}'
frozen_stages, lr = 1, 0.005
metric, best = ['bbox', 'segm'], 'lvis/segm_AP'
_base_.train_pipeline[1].with_mask = True
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=_base_.train_pipeline)))
model = dict(
    backbone=dict(frozen_stages='${frozen_stages}', init_cfg=None),
    roi_head=dict(bbox_head=dict(num_classes='${num_classes}'), mask_head=dict(num_classes='${num_classes}')),
)
optim_wrapper = dict(clip_grad=dict(max_norm=10))
default_scope, visualizer = 'mmdet', dict(type='DetLocalVisualizer')
