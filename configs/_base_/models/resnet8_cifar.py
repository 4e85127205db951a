# ResNet-8 for small gray images, 0.08 M parameters.
_base_ = './resnet32_cifar.py'
model = dict(backbone=dict(depth=8, in_channels=1))
