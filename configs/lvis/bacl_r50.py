# BACL, all stages: run tools/train_stages.py with this config. The second stage trains a new classifier alone
_base_ = './bacl_r50_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/bacl_r50_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
head = 'roi_head.bbox_head.'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone', 'neck', 'rpn_head', head + 'shared_fcs', head + 'fc_reg']),
    dict(type='ltmm.FreezeHook', keep=[head + 'fc_cls']),
]
loss_cls = dict(_delete_=True, type='ltmm.BACLLoss', feat_dim=1024, num_drawn_classes=64, num_drawn_features=12)
model = dict(roi_head=dict(bbox_head=dict(loss_cls=loss_cls)))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
