# MiSLAS: after mixup, label-aware smoothing, a scale per class, and statistics that shift in the added block only.
_base_ = './mislas_r152_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/mislas_r152_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    head=dict(
        classifier=dict(type='ltmm.ScaledLinear'),
        loss=dict(_delete_=True, type='ltmm.LabelAwareSmoothingLoss', smooth_head=0.4, smooth_tail=0.1),
    ),
    train_cfg=dict(_delete_=True),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['neck'], norm_eval=False)]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.05), 'head.fc.scale': dict(lr_mult=1.0)})
)
train_cfg = dict(max_epochs=10)
