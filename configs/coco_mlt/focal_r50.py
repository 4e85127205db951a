_base_ = ['../_base_/multi_label/focal_r50.py', '../_base_/datasets/coco_mlt.py']
model = dict(head=dict(num_classes=80))
