# Decoupling's LWS: features and classifier of ce_r32, a learnable scale per class, class-aware sampling for 5 epochs.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(classifier=dict(type='ltmm.ScaledLinear')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.FreezeHook', prefixes=['backbone', 'head.fc.weight', 'head.fc.bias'], norm_eval=False),
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=5, val_interval=5)
