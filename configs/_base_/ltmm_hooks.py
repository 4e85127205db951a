# Hooks of long-tailed training, for configs that inherit a complete config of mmdet or mmpretrain. The import is for
# programs that do not import ltmm themselves, such as the inferencers of mmpretrain and mmdet.
custom_imports = dict(imports=['ltmm.engine'], allow_failed_imports=False)
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
