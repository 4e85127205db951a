# Two views of each image, weak and strong, of MDCS on CIFAR-LT; the strong one alone of LGLA, NCL and SHIKE.
crop_and_flip = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
]
weak = [
    *crop_and_flip,
    dict(type='Rotate', magnitude_range=(0, 15), magnitude_std='inf', prob=1.0, pad_val=0),
]
strong = [
    *crop_and_flip,
    dict(type='ltmm.CIFARAutoAugment'),
    dict(type='ltmm.Cutout', size=16),
]
strong_pipeline = [*strong, dict(type='PackInputs')]
weak_strong_pipeline = [
    dict(type='MultiView', num_views=[1, 1], transforms=[weak, strong]),
    dict(type='PackInputs'),
]
