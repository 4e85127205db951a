# KCL in two steps, by tools/train_stages.py: on the frozen features a linear classifier by class-aware sampling, as
# github.com/JackHck/SBCL @3b9047a trains it.
_base_ = './ce_r50.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/kcl_r50_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
train_dataloader = dict(batch_size=256, sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=10.0, weight_decay=0.0))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[20, 30], gamma=0.1)
train_cfg = dict(max_epochs=40)
auto_scale_lr = dict(base_batch_size=2048)
