# LOCE, all stages: run tools/train_stages.py with this config
_base_ = './loce_r50_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/loce_r50_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
head = 'roi_head.bbox_head.'
trained = ['rpn_head', 'roi_head.mask_head', head + 'fc_cls', head + 'fc_reg']
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone', 'neck', head + 'shared_fcs', *trained]),
    dict(type='ltmm.FreezeHook', keep=trained),
]
loss_cls = dict(_delete_=True, type='ltmm.LOCELoss', feat_dim=1024, num_memory_classes=64)  # 8 for two images
model = dict(roi_head=dict(bbox_head=dict(type='ltmm.Shared2FCBBoxHead', loss_cls=loss_cls)))

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=6, by_epoch=True, milestones=[3, 5], gamma=0.1),
]
train_cfg = dict(max_epochs=6, val_interval=6)
