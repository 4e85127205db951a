# FixMatch in 32 px, the baseline without anything for the tail.
_base_ = [
    '../_base_/datasets/imagenet127_32px.py',
    '../_base_/models/semi_resnet50_small.py',
    '../_base_/schedules/fixmatch_500e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=127, loss=dict(type='ltmm.FixMatchLoss')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', ema_type='ltmm.AverageFromStart', momentum=0.001),
    dict(type='ltmm.PseudoLabelHook'),
]
