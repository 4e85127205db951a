# MiSLAS: after mixup, label-aware smoothing, a scale per class, shifting batch-norm statistics; 10 epochs.
_base_ = './mislas_r50_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/mislas_r50_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    head=dict(
        classifier=dict(type='ltmm.ScaledLinear'),
        loss=dict(_delete_=True, type='ltmm.LabelAwareSmoothingLoss', smooth_head=0.3, smooth_tail=0.0),
    ),
    train_cfg=dict(_delete_=True),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False)]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.05), 'head.fc.scale': dict(lr_mult=1.0)})
)
train_cfg = dict(max_epochs=10)
