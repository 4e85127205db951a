# Three views of each image of BCL on photos: one for the classifier, two to contrast; named as in the authors' table.
_base_ = ['./two_views_224.py', './weak_strong_224.py']
stacked = [*_base_.view, _base_.strong[-1]]  # distorted, then RandAugment
sim_sim_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 2], transforms=[{{_base_.strong}}, {{_base_.view}}]),
    dict(type='PackInputs'),
]
sim_rand_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 1, 1], transforms=[{{_base_.strong}}, stacked, {{_base_.view}}]),
    dict(type='PackInputs'),
]
rand_rand_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 2], transforms=[{{_base_.strong}}, stacked]),
    dict(type='PackInputs'),
]
