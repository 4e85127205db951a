# cRT, after the softmax: a new classifier alone, classes in turn. Run tools/train_stages.py with this config
_base_ = './softmax_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_r50.py'),
    dict(type='ltmm.TrainStage'),
]
head = 'roi_head.bbox_head.'
loaded = ['backbone', 'neck', 'rpn_head', 'roi_head.mask_head', head + 'shared_fcs', head + 'fc_reg']
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=loaded),
    dict(type='ltmm.FreezeHook', keep=[head + 'fc_cls']),
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1))
