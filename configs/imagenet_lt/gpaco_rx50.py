_base_ = './gpaco_r50.py'
model = dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4), head=dict(loss=dict(alpha=0.05)))
train_dataloader = dict(dataset=dict(pipeline={{_base_.gpaco_pipeline_of_three}}))
optim_wrapper = dict(optimizer=dict(lr=0.06))
