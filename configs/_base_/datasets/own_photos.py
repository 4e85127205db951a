# A folder per class, or a CSV or json file; split into 70 % training, 15 % validation and 15 % test photos
data_root = None
data_type = 'ltmm.CustomDataset'
ann_file = images = ''  # in data_root
num_classes = 'auto'  # counted
image_size = 224
batch_size = 32
num_workers = 2

data_preprocessor = dict(
    num_classes='${num_classes}', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale='${image_size}', crop_ratio_range=(0.5, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale='${image_size}', edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size='${image_size}'),
    dict(type='PackInputs'),
]
photos = dict(type='${data_type}', data_root='${data_root}', ann_file='${ann_file}', data_prefix='${images}')
split = dict(type='ltmm.Holdout', per_class=0.15, test_per_class=0.15)
train_dataloader = dict(
    batch_size='${batch_size}',
    num_workers='${num_workers}',
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split, part='train', dataset=dict(photos, pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size='${batch_size}',
    num_workers='${num_workers}',
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split, part='val', dataset=dict(photos, pipeline=test_pipeline, test_mode=True)),
)
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], part='test'))
val_evaluator = dict(type='ltmm.LongTailMetric')
test_evaluator = val_evaluator
