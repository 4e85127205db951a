# Boxes and masks in one json file of COCO; split into 70 % training, 15 % validation and 15 % test images
data_root = None
ann_file = 'annotations.json'  # in data_root
images = 'images'
num_classes = 'auto'  # counted
image_scale = (1333, 800)  # longer and shorter side at most
batch_size = 4
num_workers = 2
metric = 'bbox'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=False),
    dict(type='Resize', scale='${image_scale}', keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale='${image_scale}', keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
boxes = dict(
    type='ltmm.LVISDataset', data_root='${data_root}', ann_file='${ann_file}', data_prefix=dict(img='${images}')
)
split = dict(type='ltmm.Holdout', per_class=0.15, test_per_class=0.15)
train_dataloader = dict(
    batch_size='${batch_size}',
    num_workers='${num_workers}',
    sampler=dict(type='ltmm.RepeatFactorSampler', threshold=0.05),  # images of classes in less than 5 % come more often
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(split, part='train', dataset=dict(boxes, pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size='${batch_size}',
    num_workers='${num_workers}',
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split, part='val', dataset=dict(boxes, pipeline=test_pipeline, test_mode=True)),
)
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], part='test'))
val_evaluator = dict(type='ltmm.LVISMetric', ann_file='${data_root}/${ann_file}', metric='${metric}')
test_evaluator = val_evaluator
