# Weak and strong views of FixMatch on CIFAR, as in its PyTorch code: two of 14 operations, each with probability 0.5,
# and a gray square. There, one operation is the identity.
weak = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect'),
]
enhance = dict(magnitude_range=(-0.86, -0.14), random_negative_prob=0.0, prob=0.5)
move = dict(pad_val=0, prob=0.5)
policies = [
    dict(type='AutoContrast', prob=0.5),
    dict(type='AutoContrast', prob=0.0),
    dict(type='Equalize', prob=0.5),
    dict(type='Brightness', **enhance),
    dict(type='ColorTransform', **enhance),
    dict(type='Contrast', **enhance),
    dict(type='Sharpness', **enhance),
    dict(type='Posterize', magnitude_range=(4, 7), prob=0.5),
    dict(type='Solarize', magnitude_range=(26, 230), prob=0.5),
    dict(type='Rotate', magnitude_range=(3, 27), **move),
    *[dict(type='Shear', magnitude_range=(0.03, 0.27), direction=d, **move) for d in ('horizontal', 'vertical')],
    *[dict(type='Translate', magnitude_range=(0.03, 0.27), direction=d, **move) for d in ('horizontal', 'vertical')],
]
strong = [
    *weak,
    dict(type='RandAugment', policies=policies, num_policies=2, magnitude_level=10, magnitude_std='inf'),
    dict(type='ltmm.Cutout', size=16, fill=127),
]
weak_pipeline = [*weak, dict(type='PackInputs')]
one_strong_pipeline = [dict(type='MultiView', num_views=[1, 1], transforms=[weak, strong]), dict(type='PackInputs')]
two_strong_pipeline = [dict(type='MultiView', num_views=[1, 2], transforms=[weak, strong]), dict(type='PackInputs')]
