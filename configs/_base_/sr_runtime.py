# Runtime of super-resolution: there are no classes to count.
_base_ = './default_runtime.py'

custom_hooks = [
    dict(type='ltmm.EpochSeedHook'),
    dict(type='ltmm.InvalidLossHook'),
    dict(type='ltmm.ProgressHook'),
    dict(type='ltmm.CheckpointCompatibilityHook'),
    dict(type='ltmm.RanksHook'),
]
