# ResNet-152 with ImageNet weights, the start of every Places-LT paper.
_base_ = './resnet50.py'
model = dict(backbone=dict(depth=152, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152')))
