# GLMC by the authors' recipe for imbalance factor 100 (github.com/ynu-yangpeng/GLMC @2c0261c), with a ResNet-32 of four
# times the usual width. Factor 50 has sampler=dict(type='ltmm.PowerSampler', power=0.8) in GlobalLocalMix, and weight=6
# of the consistency; factor 10 has that sampler and weight=4.
_base_ = ['./ce_r32_wd5e-3.py', '../_base_/pipelines/cifar_weak_strong.py']
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
glmc_pipeline = [dict(type='MultiView', num_views=[2], transforms=[{{_base_.crop_and_flip}}]), dict(type='PackInputs')]
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.PerViewClassifier',
    backbone=dict(channels=(64, 128, 256)),
    head=dict(
        in_channels=256,
        classifier=dict(type='ltmm.TwoBranchLinear'),
        loss=dict(_delete_=True, type='ltmm.CumulativeLoss', power=1.2),
        aux_losses=[dict(type='ltmm.ViewConsistencyLoss', in_channels=256, weight=4.0)],
    ),
    train_cfg=dict(augments=dict(type='ltmm.GlobalLocalMix')),
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=glmc_pipeline)))
