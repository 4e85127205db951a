# NCL on CIFAR-LT: a strongly augmented view with another to contrast; four of them for NCL++.
_base_ = ['./cifar_two_views.py', './cifar_weak_strong.py']
query_key_pipeline = [
    dict(type='MultiView', num_views=[1, 1], transforms=[{{_base_.strong}}, {{_base_.view}}]),
    dict(type='PackInputs'),
]
four_view_pipeline = [
    dict(type='MultiView', num_views=[4], transforms=[{{_base_.strong}}]),
    dict(type='PackInputs'),
]
