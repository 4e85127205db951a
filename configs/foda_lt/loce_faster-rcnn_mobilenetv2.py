# LOCE, after the softmax: run tools/train_stages.py with this config
_base_ = './softmax_faster-rcnn_mobilenetv2.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_faster-rcnn_mobilenetv2.py'),
    dict(type='ltmm.TrainStage'),
]
head = 'roi_head.bbox_head.'
trained = ['rpn_head', head + 'fc_cls', head + 'fc_reg']
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone', 'neck', head + 'shared_fcs', *trained]),
    dict(type='ltmm.FreezeHook', keep=trained),
]
loss_cls = dict(_delete_=True, type='ltmm.LOCELoss', feat_dim=256)
model = dict(roi_head=dict(bbox_head=dict(type='ltmm.Shared2FCBBoxHead', loss_cls=loss_cls)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', milestones=[1]),
]
train_cfg = dict(max_epochs=2, val_interval=2)
