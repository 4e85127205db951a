# BACL, after the sigmoids: run tools/train_stages.py with this config. The second stage trains a new classifier alone
_base_ = './sigmoid_faster-rcnn_mobilenetv2.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/sigmoid_faster-rcnn_mobilenetv2.py'),
    dict(type='ltmm.TrainStage'),
]
head = 'roi_head.bbox_head.'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone', 'neck', 'rpn_head', head + 'shared_fcs', head + 'fc_reg']),
    dict(type='ltmm.FreezeHook', keep=[head + 'fc_cls']),
]
loss_cls = dict(_delete_=True, type='ltmm.BACLLoss', feat_dim=256)
model = dict(roi_head=dict(bbox_head=dict(loss_cls=loss_cls)))
