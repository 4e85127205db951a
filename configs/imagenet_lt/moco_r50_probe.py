# Linear probe of MoCo v2: pre-training on ImageNet-LT, then a classifier on its frozen backbone.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/linear_probe_100e.py',
    '../_base_/default_runtime.py',
]
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/moco_r50_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(num_classes=1000))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
probe_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=probe_pipeline))  # x 8 GPUs
