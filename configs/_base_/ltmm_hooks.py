# What long-tailed training needs of a runtime; for configs that inherit a whole config of mmdet or mmpretrain
custom_hooks = [
    dict(type='ltmm.ClassDistributionHook'),
    dict(type='ltmm.EpochSeedHook'),
    dict(type='ltmm.InvalidLossHook'),
    dict(type='ltmm.CheckpointCompatibilityHook'),
    dict(type='ltmm.EpochHook'),
]
randomness = dict(seed=0, deterministic=False)
