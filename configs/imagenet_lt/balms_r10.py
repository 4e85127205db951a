# BALMS of ce_r10: class rates learned on the validation set, 20 epochs (Ren et al., NeurIPS 2020).
_base_ = './ce_r10.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r10.py'),
    dict(type='ltmm.TrainStage'),
]
meta_dataloader = dict(
    batch_size=128,  # x 8 GPUs
    num_workers=8,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1),
    dataset=dict(type='ltmm.ImageNetLT', split='val', pipeline={{_base_.train_pipeline}}),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
    dict(type='ltmm.MetaSamplerHook', lr=1e-3, init_power=0.1, dataloader=meta_dataloader),
]
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss')))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.MetaSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.5))
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR', reaches_zero=True)
train_cfg = dict(max_epochs=20)
