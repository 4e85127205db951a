# LWS of ce_r50: a scale per class on its frozen classifier, class-aware sampling, 5 epochs (Kang et al., ICLR 2020).
_base_ = './ce_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r50.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(classifier=dict(type='ltmm.ScaledLinear')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.FreezeHook', prefixes=['backbone', 'head.fc.weight', 'head.fc.bias'], norm_eval=False),
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
train_cfg = dict(max_epochs=5, val_interval=5)
