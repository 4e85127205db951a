_base_ = ['../_base_/multi_label/r_bce_r50.py', '../_base_/datasets/coco_mlt_class_aware.py']
model = dict(head=dict(num_classes=80, loss=dict(mu=0.2)))
