# Distribution-balanced loss on a frozen ImageNet ResNet-50 (caffe style): minutes on two CPU cores.
_base_ = [
    '../_base_/datasets/lvis_mini_multi_label.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/adam_40e.py',
    '../_base_/default_runtime.py',
]
checkpoint = '{{$LTMM_DATA_ROOT:data}}/resnet50_caffe_in1k.pth'
loss = dict(
    type='ltmm.DistributionBalancedLoss',
    **dict(alpha=0.1, beta=10.0, mu=0.2, neg_scale=2.0, init_bias=0.05, focal_gamma=2.0, balance=2.0),
)
model = dict(
    backbone=dict(style='caffe', init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')),
    head=dict(_delete_=True, type='ltmm.MultiLabelClsHead', num_classes=80, in_channels=2048, loss=loss),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
