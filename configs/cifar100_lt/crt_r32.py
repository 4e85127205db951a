# Decoupling's cRT: the features of ce_r32, a new classifier trained on them with class-aware sampling for 10 epochs.
# The authors have no CIFAR recipe; this is theirs for ImageNet-LT with the batch and the rate of CIFAR.
_base_ = './ce_r32.py'
stages = ['{{ fileDirname }}/ce_r32.py']
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # statistics move, as in the authors' code
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=10)
