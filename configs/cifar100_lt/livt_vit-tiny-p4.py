# LiVT in two steps, by tools/train_stages.py; tools/train.py leaves the first out. The authors have no CIFAR recipe.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/pipelines/cifar_rand_augment.py',
    '../_base_/models/vit-tiny-p4_livt.py',
    '../_base_/schedules/livt_100e.py',
    '../_base_/default_runtime.py',
]
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/livt_vit-tiny-p4_mae.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.LoadPartsHook', prefixes=['backbone'])]
model = dict(head=dict(num_classes=100))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.rand_augment_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=5, eta_min_ratio=1e-3, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=128)
