# COMIC with three ResNet-32s, at three times the cost of one.
_base_ = './bce_r32.py'
model = dict(
    type='ltmm.COMIC',
    neck=dict(type='ltmm.FeatureProjection', in_channels=64, out_channels=128),
    head=dict(
        _delete_=True,
        type='ltmm.COMICHead',
        num_classes=50,
        in_channels=128,
        attention=dict(type='ltmm.AdditiveAttention', hidden_features=128),
    ),
)
