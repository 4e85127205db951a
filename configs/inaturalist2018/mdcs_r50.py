_base_ = ['./ride_r50.py', '../_base_/pipelines/weak_strong_224.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.MDCSLoss')))
train_dataloader = dict(dataset=dict(pipeline={{_base_.weak_strong_pipeline}}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[200, 300, 380], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
