# ResNet-152 with ImageNet weights, as in all papers on Places-LT.
_base_ = './resnet50.py'
model = dict(backbone=dict(depth=152, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152')))
