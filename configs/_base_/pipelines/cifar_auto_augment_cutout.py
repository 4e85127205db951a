# Crop, flip, AutoAugment and Cutout: the augmentation of SHIKE on CIFAR-LT.
auto_augment_cutout_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ltmm.CIFARAutoAugment'),
    dict(type='ltmm.Cutout', size=16),
    dict(type='PackInputs'),
]
