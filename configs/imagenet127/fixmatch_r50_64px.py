# FixMatch in 64 px, with crops and gray squares of twice the size.
_base_ = './fixmatch_r50.py'
load = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), interpolation='box', backend='pillow'),
]
weak = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=64, padding=8, padding_mode='reflect'),
]
strong = [*weak, _base_.strong[2], dict(type='ltmm.Cutout', size=32, fill=127)]
weak_pipeline = [*weak, dict(type='PackInputs')]
one_strong_pipeline = [dict(type='MultiView', num_views=[1, 1], transforms=[weak, strong]), dict(type='PackInputs')]
two_strong_pipeline = [dict(type='MultiView', num_views=[1, 2], transforms=[weak, strong]), dict(type='PackInputs')]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(dataset=dict(pipeline=[*load, *weak_pipeline])),
        unlabeled=dict(dataset=dict(pipeline=[*load, *one_strong_pipeline])),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=[*load, dict(type='PackInputs')]))
test_dataloader = val_dataloader
