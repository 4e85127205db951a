# Photos of your own, a folder per class; docs/start/own_photos.md. The last stage of an ImageNet ResNet-50 trains.
#   python tools/train.py configs/own_data/finetune_r50.py --cfg-options data_root=my/photos
_base_ = [
    '../_base_/datasets/own_photos.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/own_data_20e.py',
]
pretrained = 'https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'
loss = 'ltmm.BalancedSoftmaxLoss'
frozen_stages = 3  # of 4; fewer for thousands of photos and a GPU

model = dict(
    backbone=dict(
        frozen_stages='${frozen_stages}',
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='${pretrained}', prefix='backbone.'),
    ),
    head=dict(num_classes='${num_classes}', loss=dict(type='${loss}')),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.ChannelsLastHook')]
