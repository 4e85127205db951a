# 33 + 27 COCO photos under free licences in LVIS v1's layout: 80 classes, boxes and masks, longer side 320 pixels
_base_ = './foda_lt.py'

data_root = '{{$LTMM_DATA_ROOT:data}}/lvis_mini/'
scale = (256, 256)
_base_.train_pipeline[1].with_mask = True
_base_.train_pipeline[2].scale = _base_.test_pipeline[1].scale = scale

train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=_base_.train_pipeline))
val_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/lvis_v1_val.json', metric=['bbox', 'segm'])
test_evaluator = val_evaluator
