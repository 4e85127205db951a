_base_ = ['./sade_r152.py', '../_base_/pipelines/two_views_224.py']
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.LGLALoss', tau=2.4)))
gray_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    *_base_.distort[1:],  # gray, blur, flip
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=gray_pipeline))
