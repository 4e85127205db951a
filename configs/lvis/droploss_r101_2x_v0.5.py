_base_ = './droploss_r50_2x_v0.5.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
