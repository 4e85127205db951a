# ResNet-50 at 300 pixels, for a GPU: 12 epochs of 130 steps
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn_caffe.py',
    '../_base_/datasets/foda_lt.py',
    '../_base_/schedules/foda_lt_8e.py',
    '../_base_/det_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=31)))

_base_.train_pipeline[2].scale = (300, 300)
_base_.test_pipeline[1].scale = (300, 300)
train_dataloader = dict(batch_size=16, num_workers=4, dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(num_workers=4, dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader

param_scheduler = [_base_.param_scheduler[0], dict(type='MultiStepLR', milestones=[8, 11])]
train_cfg = dict(max_epochs=12, val_interval=12)
auto_scale_lr = dict(base_batch_size=16)
