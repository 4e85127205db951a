# 40 % of the positive labels are missing: they look negative.
_base_ = ['../_base_/multi_label/comic_r50.py', '../_base_/datasets/coco_mlt.py']
model = dict(head=dict(num_classes=80))
slow = {'neck.head': dict(milestones=[23]), 'head.fc.head': dict(lr_mult=0.1, milestones=[23])}
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=slow))
train_dataloader = dict(dataset=dict(missing_rate=0.4, dataset=dict(pipeline={{_base_.comic_train_pipeline}})))
val_dataloader = dict(dataset=dict(pipeline={{_base_.comic_test_pipeline}}))
test_dataloader = val_dataloader
val_evaluator = dict(class_counts=dict(type='ltmm.COCOMLT', split='train'))  # head and tail of the complete labels
test_evaluator = val_evaluator
