# COMIC on a frozen ImageNet ResNet-50 (caffe style): minutes on two CPU cores.
_base_ = [
    '../_base_/datasets/lvis_mini_multi_label.py',
    '../_base_/models/comic_resnet50.py',
    '../_base_/schedules/adam_40e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        style='caffe',
        init_cfg=dict(checkpoint='{{$LTMM_DATA_ROOT:data}}/resnet50_caffe_in1k.pth', prefix='backbone.'),
    ),
    head=dict(num_classes=80),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
