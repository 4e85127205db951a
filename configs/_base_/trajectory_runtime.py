# Runtime of trajectory prediction: the hooks that need no classes.
_base_ = './default_runtime.py'
custom_hooks = [
    dict(type='ltmm.EpochSeedHook'),
    dict(type='ltmm.InvalidLossHook'),
    dict(type='ltmm.ProgressHook'),
    dict(type='ltmm.CheckpointCompatibilityHook'),
    dict(type='ltmm.RanksHook'),
    dict(type='ltmm.PrototypeContrastHook'),
]
default_hooks = dict(checkpoint=dict(interval=25))
find_unused_parameters = True  # the projector rests until the contrast begins
