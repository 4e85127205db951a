# Mask R-CNN R50-FPN, 1x, softmax, each image once an epoch: what the methods are compared with
_base_ = ['mmdet::lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py', '../_base_/ltmm_hooks.py']

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

train_cfg = dict(val_interval=12)
default_hooks = dict(checkpoint=dict(type='ltmm.SafeCheckpointHook', max_keep_ckpts=2))
