# ResNet-50. As in the papers' code, residual branches do not start at zero.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='ltmm.LongTailClsHead', in_channels=2048, loss=dict(type='CrossEntropyLoss')),
)
