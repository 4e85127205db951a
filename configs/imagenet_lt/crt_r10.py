# cRT of ce_r10: a new classifier on its features, class-aware sampling, 10 epochs (Kang et al., ICLR 2020).
_base_ = './ce_r10.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r10.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
train_cfg = dict(max_epochs=10)
