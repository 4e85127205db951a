# Two views of each image, weak and strong, of MDCS on photos; the strong one alone of LGLA and NCL.
weak = [
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]
# timm's rand-n2-m10-mstd0.5. Without `inc`, a higher level posterizes and solarizes less, and enhances by 0.1 to 1.9.
enhance = dict(magnitude_range=(-0.9, 0.9), random_negative_prob=0.0)
policies = [
    dict(type='AutoContrast'),
    dict(type='Equalize'),
    dict(type='Invert'),
    dict(type='Rotate', magnitude_range=(0, 30)),
    dict(type='Posterize', magnitude_range=(-0.999999, 3.000001)),  # rounded up: timm's (0, 4), rounded down
    dict(type='Solarize', magnitude_range=(0, 256)),
    dict(type='SolarizeAdd', magnitude_range=(0, 110)),
    dict(type='ColorTransform', **enhance),
    dict(type='Contrast', **enhance),
    dict(type='Brightness', **enhance),
    dict(type='Sharpness', **enhance),
    dict(type='Shear', magnitude_range=(0, 0.3), direction='horizontal'),
    dict(type='Shear', magnitude_range=(0, 0.3), direction='vertical'),
    dict(type='Translate', magnitude_range=(0, 0.45), direction='horizontal'),
    dict(type='Translate', magnitude_range=(0, 0.45), direction='vertical'),
]
strong = [
    *weak,
    dict(type='RandAugment', policies=policies, num_policies=2, magnitude_level=10, magnitude_std=0.5),
]
strong_pipeline = [dict(type='LoadImageFromFile'), *strong, dict(type='PackInputs')]
weak_strong_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 1], transforms=[weak, strong]),
    dict(type='PackInputs'),
]
