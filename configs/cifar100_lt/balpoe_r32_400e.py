_base_ = ['./balpoe_r32.py', '../_base_/pipelines/cifar_auto_augment.py']
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.auto_augment_pipeline}})))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
