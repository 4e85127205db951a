_base_ = ['./ride_r32.py', '../_base_/pipelines/cifar_weak_strong.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.MDCSLoss')))
train_dataloader = dict(batch_size=64, dataset=dict(dataset=dict(pipeline={{_base_.weak_strong_pipeline}})))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20),
    dict(type='MultiStepLR', milestones=[200, 320, 380], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=64)
