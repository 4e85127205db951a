# Crop, flip, timm's rand-m9-mstd0.5-inc1 and random erasing: LiVT's fine-tuning on images of 32 px.
rand_augment_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandAugment', policies='timm_increasing', num_policies=2, magnitude_level=9, magnitude_std=0.5),
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        max_area_ratio=1 / 3,
        mode='rand',
        fill_color=[125.307, 122.961, 113.8575],  # mean and standard deviation of the data: red, green, blue
        fill_std=[51.5865, 50.847, 51.255],
    ),
    dict(type='PackInputs'),
]
