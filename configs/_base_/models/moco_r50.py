# MoCo v2 of a ResNet-50.
model = dict(
    type='ltmm.MomentumClassifier',
    backbone=dict(type='ResNet', depth=50, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='ltmm.PretrainHead', loss=dict(type='ltmm.MomentumContrastLoss', in_channels=2048)),
)
