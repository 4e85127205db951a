# The authors' recipe for CC-SAM (github.com/zzpustc/CC-SAM @651d3df): 200 epochs with mixup and class-wise moved
# weights, then 30 of the classifier alone with class-aware sampling and class-wise moved features.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/cc_sam_r32_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.CCSAMFeatureLoss')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
train_dataloader = dict(
    batch_size=64, sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1)
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = []
train_cfg = dict(max_epochs=30)
auto_scale_lr = dict(base_batch_size=64)
