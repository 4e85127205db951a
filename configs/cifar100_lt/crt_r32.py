# Decoupling's cRT: a new classifier on the frozen features of ce_r32, class-aware sampling, 10 epochs.
# The authors have no CIFAR recipe; this is theirs for ImageNet-LT with the batch size and learning rate of CIFAR.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=10)
