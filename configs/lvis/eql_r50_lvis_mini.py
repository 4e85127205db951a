# EQL on 33 photos, a smoke test: its figures say nothing about the method
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn_frozen.py',
    '../_base_/datasets/lvis_mini.py',
    '../_base_/schedules/lvis_mini_40e.py',
    '../_base_/det_runtime.py',
]
model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.EQLLoss', lambda_=0.15),  # tail: rare and common, up to 4 photos
        )
    )
)
default_hooks = dict(logger=dict(interval=8), checkpoint=dict(interval=10))
