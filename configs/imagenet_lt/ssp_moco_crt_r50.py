# SSP with cRT: MoCo v2, cross entropy from its backbone, then a new classifier by class-aware sampling, 10 epochs.
_base_ = './ce_r50.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/moco_r50_pretrain.py'),
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ssp_moco_r50.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
train_cfg = dict(max_epochs=10)
