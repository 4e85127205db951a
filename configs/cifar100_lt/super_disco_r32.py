# SuperDisco, a super-class graph on the features of ce_r32 that a class-balanced set trains. Unverified against the
# authors, who have published no code: the constants are ours.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone', 'head']),
    dict(type='ltmm.MetaBatchHook'),
]
model = dict(type='ltmm.SuperDiscoClassifier', neck=dict(type='ltmm.SuperClassGraph', in_channels=64))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=40)
