# Two views of each training image, of which MoCo tells one from the others, on CIFAR: those of MoCo v2 without blur,
# which leaves little of 32 px, and those of MoCo v1.
crop = dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0), backend='pillow')
gray = dict(
    type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114), color_format='rgb'
)
jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
flip = dict(type='RandomFlip', prob=0.5)
v2 = [crop, dict(type='RandomApply', transforms=jitter, prob=0.8), gray, flip]
v1 = [crop, gray, dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4), flip]
moco_pipeline = [dict(type='MultiView', num_views=[2], transforms=[v2]), dict(type='PackInputs')]
moco_v1_pipeline = [dict(type='MultiView', num_views=[2], transforms=[v1]), dict(type='PackInputs')]
