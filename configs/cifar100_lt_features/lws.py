# Learnable weight scaling of ce.py.
_base_ = './ce.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(classifier=dict(type='ltmm.ScaledLinear')))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['head.fc.weight', 'head.fc.bias'])]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_cfg = dict(max_epochs=10, val_interval=10)
