_base_ = ['../_base_/multi_label/ldam_r50.py', '../_base_/datasets/voc_mlt.py']
model = dict(head=dict(num_classes=20))
