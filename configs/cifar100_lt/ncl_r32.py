# NCL: three whole networks. Its schedule is stepped before each epoch, so the rate drops one epoch early.
_base_ = ['./ce_r32.py', '../_base_/pipelines/cifar_ncl.py']
model = dict(
    backbone=dict(
        _delete_=True, type='ltmm.MultiExpertResNetCIFAR', depth=32, expert_stages=(0, 1, 2), separate_stem=True
    ),
    head=dict(
        type='ltmm.MultiExpertClsHead', num_experts=3, loss=dict(_delete_=True, type='ltmm.NCLLoss', num_hard=30)
    ),
)
train_dataloader = dict(batch_size=64, drop_last=True, dataset=dict(dataset=dict(pipeline={{_base_.strong_pipeline}})))
val_evaluator = [_base_.val_evaluator, dict(type='ltmm.ExpertMetric')]
test_evaluator = [*_base_.test_evaluator, dict(type='ltmm.ExpertMetric')]
optim_wrapper = dict(optimizer=dict(nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=7 / 15, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[319, 359], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=64)
