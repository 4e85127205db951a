# The same on LVIS v0.5
_base_ = './stepwise_deformable-detr_r50_stage0.py'

model = dict(bbox_head=dict(num_classes=1230))
data_root = '{{$LTMM_DATA_ROOT:data}}/lvis_v0.5/'
train_dataloader = dict(dataset=dict(data_root=data_root, ann_file='annotations/lvis_v0.5_train.json'))
val_dataloader = dict(dataset=dict(data_root=data_root, ann_file='annotations/lvis_v0.5_val.json'))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/lvis_v0.5_val.json')
test_evaluator = val_evaluator
