# ResNet-32 of the CIFAR-LT papers with one sigmoid a class.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ltmm.ResNetCIFAR', depth=32),
    head=dict(type='ltmm.MultiLabelClsHead', in_channels=64, loss=dict(type='ltmm.MultiLabelBCELoss')),
)
