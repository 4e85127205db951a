_base_ = './stepwise_deformable-detr_r50_v0.5_stage0.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
