# BALMS: a new classifier on the frozen features of ce_r32, balanced softmax, class rates learned by the meta sampler.
# The authors train 2,000 iterations, 91 epochs; their first stage has AutoAugment, Cutout and 13,000 iterations.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
    dict(type='ltmm.MetaSamplerHook'),
]
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss')))
train_dataloader = dict(batch_size=512, sampler=dict(_delete_=True, type='ltmm.MetaSampler'))
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
param_scheduler = [dict(type='ltmm.ShiftedCosineLR', reaches_zero=True)]
train_cfg = dict(max_epochs=91)
auto_scale_lr = dict(base_batch_size=512)
