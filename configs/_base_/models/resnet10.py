# ResNet-10, [1, 1, 1, 1] basic blocks.
_base_ = './resnet50.py'
model = dict(backbone=dict(type='ltmm.ResNet', depth=10), head=dict(in_channels=512))
