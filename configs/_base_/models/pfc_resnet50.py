# ResNet-50 of the multi-label papers: ImageNet weights, stem, first stage and all batch-norm statistics frozen.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet',
        depth=50,
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(type='ltmm.PFC', in_channels=2048, out_channels=256, dropout=0.5),
    head=dict(type='ltmm.MultiLabelClsHead', in_channels=256, loss=dict(type='ltmm.MultiLabelBCELoss')),
)
