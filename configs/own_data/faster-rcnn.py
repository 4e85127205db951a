# Boxes of your own in a COCO json; docs/start/own_boxes.md. Starts from a Faster R-CNN that knows COCO.
#   python tools/train.py configs/own_data/faster-rcnn.py --cfg-options data_root=my ann_file=annotations.json
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/own_boxes.py',
    '../_base_/schedules/own_data_20e.py',
]
pretrained = (
    'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_mstrain_3x_coco/'
    'faster_rcnn_r50_fpn_mstrain_3x_coco_20210524_110822-e10bd31c.pth'
)
load_from = '${pretrained}'
frozen_stages = 1  # of 4; 4 trains the heads only
lr = 0.005
best = 'lvis/bbox_AP'
model = dict(
    backbone=dict(frozen_stages='${frozen_stages}', init_cfg=None),
    roi_head=dict(bbox_head=dict(num_classes='${num_classes}')),
)
optim_wrapper = dict(clip_grad=dict(max_norm=10))
default_scope = 'mmdet'
visualizer = dict(type='DetLocalVisualizer')
