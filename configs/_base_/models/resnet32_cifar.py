# ResNet-32 of the CIFAR-LT papers, 0.46 M parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ltmm.ResNetCIFAR', depth=32),
    head=dict(
        type='ltmm.LongTailClsHead',
        in_channels=64,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_in'),
    ),
)
