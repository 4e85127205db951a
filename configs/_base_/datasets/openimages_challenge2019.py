# OpenImages Challenge 2019: 500 classes, 1,418,594 to 14 training objects; the files of mmdet's guide to its data
_base_ = 'mmdet::_base_/datasets/openimages_detection.py'

challenge = dict(
    type='ltmm.OpenImagesChallengeDataset',
    data_root='{{$LTMM_DATA_ROOT:data}}/OpenImages/',
    label_file='challenge2019/cls-label-description.csv',
    hierarchy_file='challenge2019/class_label_tree.np',
)
train_dataloader = dict(
    dataset=dict(
        ann_file='challenge2019/challenge-2019-train-detection-bbox.txt',
        data_prefix=dict(img='OpenImages/train/'),
        meta_file='challenge2019/challenge-2019-train-metas.pkl',
        **challenge,
    )
)
val_files = dict(
    ann_file='challenge2019/challenge-2019-validation-detection-bbox.txt',
    data_prefix=dict(img='OpenImages/'),
    meta_file='challenge2019/challenge-2019-validation-metas.pkl',
    image_level_ann_file='challenge2019/challenge-2019-validation-detection-human-imagelabels.csv',
)
val_dataloader = dict(dataset=dict(**val_files, **challenge))
test_dataloader = val_dataloader
val_evaluator = dict(type='ltmm.OpenImagesMetric')
test_evaluator = val_evaluator
