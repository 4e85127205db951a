# The 33 + 27 photos of lvis_mini as a multi-label set of 80 classes; normalized for the caffe ResNet-50 (BGR).
_base_ = './coco_mlt.py'

data_root = '{{$LTMM_DATA_ROOT:data}}/lvis_mini/'
data_preprocessor = dict(mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0], to_rgb=False)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='ltmm.DetectionAsMultiLabel',
        data_root=data_root,
        ann_file='annotations/lvis_v1_train.json',
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='ltmm.DetectionAsMultiLabel',
        data_root=data_root,
        ann_file='annotations/lvis_v1_val.json',
        pipeline=_base_.test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
