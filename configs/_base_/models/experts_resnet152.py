# ResNet-152 with three experts from the third stage on, full width, all from the same ImageNet weights.
_base_ = './experts_resnet50.py'
model = dict(
    backbone=dict(
        depth=152,
        channels=(64, 128, 256, 512),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'),
    ),
    head=dict(in_channels=2048),
)
