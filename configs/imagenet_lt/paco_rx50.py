_base_ = './paco_r50.py'
model = dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4))
