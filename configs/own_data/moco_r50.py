# Photos without labels, in any folders below one: pre-training by MoCo v2, which goes on from ImageNet's weights.
#   python tools/train.py configs/own_data/moco_r50.py --cfg-options data_root=my/unlabeled
_base_ = [
    '../_base_/pipelines/two_views_224.py',
    '../_base_/datasets/unlabeled_photos.py',
    '../_base_/models/moco_r50.py',
    '../_base_/schedules/moco_200e.py',
    '../_base_/default_runtime.py',
]
pretrained = 'https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'
max_epochs = 50
lr = 0.0075  # for a batch of 64
queue_size = 4096  # at most a few times the number of photos

crop = dict(type='RandomResizedCrop', scale='${image_size}', crop_ratio_range=(0.2, 1.0), backend='pillow')
views = dict(type='MultiView', num_views=[2], transforms=[[crop, *_base_.distort]])
pipeline = [dict(type='LoadImageFromFile'), views, dict(type='PackInputs')]
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='${pretrained}', prefix='backbone.')),
    head=dict(loss=dict(queue_size='${queue_size}')),
)
train_dataloader = dict(dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(lr='${lr}'))
train_cfg = dict(max_epochs='${max_epochs}')
