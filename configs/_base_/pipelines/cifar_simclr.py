# Two views of each image as SimCLR, SupCon and SBCL draw them on CIFAR-LT: no blur.
simclr_view = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomApply',
        transforms=dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        prob=0.8,
    ),
    dict(
        type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114), color_format='rgb'
    ),
]
simclr_pipeline = [dict(type='MultiView', num_views=[2], transforms=[simclr_view]), dict(type='PackInputs')]
