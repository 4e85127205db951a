# ImageNet-127: 1,281,167 training images of 127 classes, 50,000 validation images with the same long tail: look at
# long_tail/balanced_accuracy. Images are shrunk to 32 px by a box filter; imagenet127_64px.py has 64 px.
data_preprocessor = dict(num_classes=127, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
load_and_shrink = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), interpolation='box', backend='pillow'),
]
crop_and_flip = [
    dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect'),
    dict(type='RandomFlip', prob=0.5),
]
