# GML: a new classifier on the frozen features of ce_r32, instance-balanced sampling. The paper's abstract gives this
# recipe, the authors' code for it is not public: epochs and learning rate are ours. norm_eval=True keeps the features
# of the first stage; False would let the statistics of batch normalization move.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.GeometricMeanLoss')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True),
]
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=20)
