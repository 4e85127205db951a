# NCL on photos: one strongly augmented view; with a second one to contrast.
_base_ = ['./two_views_224.py', './weak_strong_224.py']
strong_pipeline = [dict(type='LoadImageFromFile'), *_base_.strong, dict(type='PackInputs')]
query_key_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 1], transforms=[{{_base_.strong}}, {{_base_.view}}]),
    dict(type='PackInputs'),
]
