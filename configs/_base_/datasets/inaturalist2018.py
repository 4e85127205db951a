# iNaturalist 2018: 437,513 training images of 8,142 species (1,000 to 2 per class), tested on its validation set.
_base_ = './imagenet_lt.py'
data_preprocessor = dict(num_classes=8142, mean=[118.83, 120.105, 96.9], std=[49.725, 49.47, 48.96])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018'))
test_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018', split='val'))
