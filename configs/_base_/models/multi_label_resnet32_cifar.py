# ResNet-32 of the CIFAR-LT papers, for images of 64 pixels, with one sigmoid per class.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ltmm.ResNetCIFAR', depth=32, stem_stride=2),
    head=dict(type='ltmm.MultiLabelClsHead', in_channels=64, loss=dict(type='ltmm.MultiLabelBCELoss')),
)
