# Two views of each test image from which SADE learns the weights of its experts on photos. BCL contrasts such views.
distort = [
    dict(
        type='RandomApply',
        transforms=dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.299)),
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
    dict(type='RandomFlip', prob=0.5),
]
view = [dict(type='RandomResizedCrop', scale=224, backend='pillow'), *distort]
two_view_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[2], transforms=[view]),
    dict(type='PackInputs'),
]
# of at least a fifth of the image, on ImageNet-LT and Places-LT
large_view = [dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow'), *distort]
large_view_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[2], transforms=[large_view]),
    dict(type='PackInputs'),
]
