# Step-wise learning, stage 0: two-stage Deformable DETR with box refinement on all of LVIS v1, 50 epochs
_base_ = ['mmdet::deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py', '../_base_/ltmm_hooks.py']

model = dict(bbox_head=dict(num_classes=1203, loss_cls=dict(loss_weight=3.0)), test_cfg=dict(max_per_img=300))

data_root = '{{$LTMM_DATA_ROOT:data}}/lvis_v1/'
data = dict(type='ltmm.LVISDataset', data_root=data_root, data_prefix=dict(img=''))
train_dataloader = dict(
    persistent_workers=False,  # for exact resume
    dataset=dict(ann_file='annotations/lvis_v1_train.json', **data),
)
val_dataloader = dict(dataset=dict(ann_file='annotations/lvis_v1_val.json', **data))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='ltmm.LVISMetric', ann_file=data_root + 'annotations/lvis_v1_val.json', metric='bbox'
)
test_evaluator = val_evaluator

train_cfg = dict(val_interval=50)
default_hooks = dict(checkpoint=dict(type='ltmm.SafeCheckpointHook', max_keep_ckpts=2))
