_base_ = ['../_base_/multi_label/bce_r50.py', '../_base_/datasets/voc_mlt_class_aware.py']
model = dict(head=dict(num_classes=20))
