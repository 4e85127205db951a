# Hooks of long-tailed training, for configs that inherit a complete config of mmdet or mmpretrain
custom_hooks = [
    dict(type='ltmm.ClassDistributionHook'),
    dict(type='ltmm.DataCheckHook'),
    dict(type='ltmm.EpochSeedHook'),
    dict(type='ltmm.InvalidLossHook'),
    dict(type='ltmm.CheckpointCompatibilityHook'),
    dict(type='ltmm.ProgressHook'),
    dict(type='ltmm.RanksHook'),
    dict(type='ltmm.TrainFeaturesHook'),
    dict(type='ltmm.MetricsHook'),
    dict(type='ltmm.BatchAugmentHook'),
]
randomness = dict(seed=0, deterministic=False)
