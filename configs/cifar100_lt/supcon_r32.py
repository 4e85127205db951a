# SupCon in two steps, by tools/train_stages.py: on the frozen features LDAM with weights from the first epoch, the rule
# 'DRW' of github.com/JackHck/SBCL @3b9047a.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/supcon_r32_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
ldam = dict(type='ltmm.LDAMLoss')
model = dict(
    head=dict(
        classifier=dict(type='ltmm.NormedLinear'),
        loss=dict(_delete_=True, type='ltmm.ReweightedLoss', loss=ldam, kind='effective_number', beta=0.9999),
    )
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[140, 180], gamma=0.1),
]
