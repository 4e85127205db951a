# Pre-training by MoCo v1: one linear layer as projector, temperature 0.07, weaker views, and drops instead of a cosine.
_base_ = './moco_r32_pretrain.py'
model = dict(head=dict(loss=dict(temperature=0.07, mlp=False)))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.moco_v1_pipeline}})))
param_scheduler = [dict(type='MultiStepLR', milestones=[120, 160], gamma=0.1)]
