# Crop, flip and a rotation by up to 15 degrees: the augmentation of RIDE and SADE on CIFAR-LT.
rotate_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Rotate', magnitude_range=(0, 15), magnitude_std='inf', prob=1.0, pad_val=0),
    dict(type='PackInputs'),
]
