# Cascade Mask R-CNN, 2x
_base_ = './eqlv2_cascade_r50.py'

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')),
    roi_head=dict(
        bbox_head=[
            dict(head, cls_predictor_cfg=dict(type='NormedLinear'), loss_cls=dict(type='ltmm.SeesawLoss'))
            for head in _base_.model.roi_head.bbox_head
        ]
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1),
]
train_cfg = dict(max_epochs=24, val_interval=24)
