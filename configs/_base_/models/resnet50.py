# ResNet-50.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='ltmm.LongTailClsHead', in_channels=2048, loss=dict(type='CrossEntropyLoss')),
)
