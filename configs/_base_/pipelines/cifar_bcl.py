# Three views of each image of BCL on CIFAR-LT: one for the classifier, two to contrast.
_base_ = ['./cifar_two_views.py', './cifar_weak_strong.py']
bcl_pipeline = [
    dict(type='MultiView', num_views=[1, 2], transforms=[{{_base_.strong}}, {{_base_.view}}]),
    dict(type='PackInputs'),
]
