# COMIC on frozen ImageNet features, as its authors train it. One frozen backbone serves the three branches.
model = dict(
    type='ltmm.COMIC',
    shared_backbone=True,
    backbone=dict(type='ResNet', depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(type='ltmm.FeatureProjection', in_channels=2048, out_channels=1024, log_softmax=True),
    head=dict(type='ltmm.COMICHead', in_channels=1024),
)
