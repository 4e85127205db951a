# 40 % of all labels are unknown.
_base_ = ['../_base_/multi_label/partial_asl_r50.py', '../_base_/datasets/coco_mlt.py']
model = dict(head=dict(num_classes=80))
train_dataloader = dict(dataset=dict(missing_rate=0.4, negative_missing_rate=0.4, unknown_as='unknown'))
val_evaluator = dict(class_counts=dict(type='ltmm.COCOMLT', split='train'))  # head and tail of the complete labels
test_evaluator = val_evaluator
