_base_ = ['../_base_/multi_label/r_bce_focal_r50.py', '../_base_/datasets/voc_mlt_class_aware.py']
model = dict(head=dict(num_classes=20, loss=dict(mu=0.3)))
