# LiVT on photos: pre-training, fine-tuning with timm's rand-m9-mstd0.5-inc1 and random erasing, test.
bicubic = dict(backend='pillow', interpolation='bicubic')
mean, std = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]  # blue, green, red, as images are loaded
mae_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), **bicubic),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
livt_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, **bicubic),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=mean, interpolation='bicubic'),
    ),
    dict(type='RandomErasing', erase_prob=0.25, max_area_ratio=1 / 3, mode='rand', fill_color=mean, fill_std=std),
    dict(type='PackInputs'),
]
livt_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', **bicubic),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
