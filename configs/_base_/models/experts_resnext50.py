# ResNeXt-50 32x4d with three experts from the third stage on, narrowed: 42.9 M parameters for 1,000 classes.
_base_ = './experts_resnet50.py'
model = dict(backbone=dict(type='ltmm.MultiExpertResNeXt'))
