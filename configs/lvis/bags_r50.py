# Balanced group softmax: a new classifier on the frozen rest of softmax_r50, 12 epochs
_base_ = './softmax_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_r50.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead', loss_cls=dict(_delete_=True, type='ltmm.BalancedGroupSoftmaxLoss')
        )
    )
)
head = 'roi_head.bbox_head.'
loaded = ['backbone', 'neck', 'rpn_head', 'roi_head.mask_head', head + 'shared_fcs', head + 'fc_reg']
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=loaded),
    dict(type='ltmm.FreezeHook', keep=[head + 'fc_cls'], norm_eval=True),
]
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=35))
warmup = dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=501)  # as mmcv
param_scheduler = [warmup, dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11])]
