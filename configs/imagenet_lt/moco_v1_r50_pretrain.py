# Pre-training by MoCo v1: one linear layer as projector, temperature 0.07, weaker views, and drops instead of a cosine.
_base_ = './moco_r50_pretrain.py'
v1 = [
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow'),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.299)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
    dict(type='RandomFlip', prob=0.5),
]
moco_v1_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[2], transforms=[v1]),
    dict(type='PackInputs'),
]
model = dict(head=dict(loss=dict(temperature=0.07, mlp=False)))
train_dataloader = dict(dataset=dict(pipeline=moco_v1_pipeline))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[120, 160], gamma=0.1)
