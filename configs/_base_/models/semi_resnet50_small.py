# ResNet-50 for images of 32 and 64 px: a first convolution of 3 x 3 and no pooling after it keep their resolution.
model = dict(
    type='ltmm.SemiSupervisedClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=50, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='ltmm.LongTailClsHead', in_channels=2048),
)
