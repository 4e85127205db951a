# NCL on CIFAR-LT: one strongly augmented view; with a second one to contrast; four of them for NCL++.
_base_ = ['./cifar_two_views.py', './cifar_weak_strong.py']
strong_pipeline = [*_base_.strong, dict(type='PackInputs')]
query_key_pipeline = [
    dict(type='MultiView', num_views=[1, 1], transforms=[{{_base_.strong}}, {{_base_.view}}]),
    dict(type='PackInputs'),
]
four_view_pipeline = [
    dict(type='MultiView', num_views=[4], transforms=[{{_base_.strong}}]),
    dict(type='PackInputs'),
]
