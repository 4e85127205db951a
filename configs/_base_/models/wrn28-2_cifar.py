# WRN-28-2 of FixMatch and the methods after it, 1.5 M parameters, as in their PyTorch code.
model = dict(
    type='ltmm.SemiSupervisedClassifier',
    backbone=dict(type='ltmm.WideResNetCIFAR', depth=28, width=2, raw_convs=True),
    head=dict(
        type='ltmm.LongTailClsHead',
        in_channels=128,
        init_cfg=dict(type='Xavier', layer='Linear', bias=0),
    ),
)
