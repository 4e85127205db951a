# NCL on photos: a strongly augmented view with another to contrast.
_base_ = ['./two_views_224.py', './weak_strong_224.py']
query_key_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 1], transforms=[{{_base_.strong}}, {{_base_.view}}]),
    dict(type='PackInputs'),
]
