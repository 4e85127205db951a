# ResNet-50 with three experts from the third stage on, narrowed as in RIDE: 43.7 M parameters for 1,000 classes.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ltmm.MultiExpertResNet', depth=50, channels=(64, 128, 192, 384), num_experts=3),
    head=dict(
        type='ltmm.MultiExpertClsHead',
        num_experts=3,
        in_channels=1536,
        classifier=dict(type='ltmm.NormedLinear', scale=30.0),
    ),
)
