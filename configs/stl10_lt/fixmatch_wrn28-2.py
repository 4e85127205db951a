# FixMatch, the baseline without anything for the tail.
_base_ = [
    '../_base_/datasets/stl10_lt_semi.py',
    '../_base_/models/wrn28-2_cifar.py',
    '../_base_/schedules/fixmatch_500e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=10, loss=dict(type='ltmm.FixMatchLoss')))
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', ema_type='ltmm.AverageFromStart', momentum=0.001)]
