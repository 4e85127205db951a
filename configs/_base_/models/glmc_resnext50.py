# GLMC of a ResNeXt-50 32x4d, on photos.
_base_ = './resnext50.py'
model = dict(
    type='ltmm.PerViewClassifier',
    head=dict(
        classifier=dict(type='ltmm.TwoBranchLinear'),
        loss=dict(_delete_=True, type='ltmm.CumulativeLoss', power=1.0),
        aux_losses=[dict(type='ltmm.ViewConsistencyLoss', in_channels=2048, weight=10.0)],
    ),
    train_cfg=dict(augments=dict(type='ltmm.GlobalLocalMix', sampler=dict(type='ltmm.PowerSampler', power=0.8))),
)
