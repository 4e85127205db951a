# LVIS v1: 1,203 classes on COCO photos, shorter side 640 to 800 pixels, each image once per epoch
_base_ = 'mmdet::_base_/datasets/lvis_v1_instance.py'

data_root = '{{$LTMM_DATA_ROOT:data}}/lvis_v1/'
train_dataloader = dict(
    persistent_workers=False,  # for exact resume
    dataset=dict(
        _delete_=True,  # mmdet repeats the images of rare classes
        type='ltmm.LVISDataset',
        data_root=data_root,
        ann_file='annotations/lvis_v1_train.json',
        data_prefix=dict(img=''),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(type='ltmm.LVISDataset', data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.LVISMetric', ann_file=data_root + 'annotations/lvis_v1_val.json')
test_evaluator = val_evaluator
