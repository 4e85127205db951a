# Crop, flip and AutoAugment: the augmentation of BalPoE's long training on CIFAR-LT.
auto_augment_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ltmm.CIFARAutoAugment'),
    dict(type='PackInputs'),
]
