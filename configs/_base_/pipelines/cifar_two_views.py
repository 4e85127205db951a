# Two views of each test image from which SADE learns the weights of its experts on CIFAR-LT.
view = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(
        type='RandomApply',
        transforms=dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        prob=0.8,
    ),
    dict(
        type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114), color_format='rgb'
    ),
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.2),
    dict(type='RandomFlip', prob=0.5),
]
two_view_pipeline = [dict(type='MultiView', num_views=[2], transforms=[view]), dict(type='PackInputs')]
