# cRT of ce_r152: a new classifier on its features, class-aware sampling, 10 epochs (Kang et al., ICLR 2020).
_base_ = './ce_r152.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r152.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
train_dataloader = dict(batch_size=32, sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))  # x 8 GPUs
param_scheduler = dict(_delete_=True, type='CosineAnnealingLR')
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=256)
