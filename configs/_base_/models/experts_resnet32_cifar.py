# ResNet-32 with three experts from the second stage on, narrowed as in RIDE: 0.78 M parameters for 100 classes.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ltmm.MultiExpertResNetCIFAR', depth=32, channels=(16, 24, 48), num_experts=3),
    head=dict(
        type='ltmm.MultiExpertClsHead',
        num_experts=3,
        in_channels=48,
        classifier=dict(type='ltmm.NormedLinear', scale=30.0),
    ),
)
