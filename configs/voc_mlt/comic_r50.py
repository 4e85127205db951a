# COMIC (Zhang et al., ICCV 2023): 40 % of the positive labels look negative.
_base_ = [
    '../_base_/datasets/voc_mlt.py',
    '../_base_/pipelines/comic_224.py',
    '../_base_/models/comic_resnet50.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/comic_40e.py',
]
model = dict(head=dict(num_classes=20))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'neck.tail': dict(milestones=[23])}))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.PartialLabels',
        missing_rate=0.4,
        dataset=dict(type='ltmm.VOCMLT', split='train', pipeline={{_base_.comic_train_pipeline}}),
    )
)
val_dataloader = dict(dataset=dict(pipeline={{_base_.comic_test_pipeline}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.comic_test_pipeline}}))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False)]
default_hooks = dict(checkpoint=dict(save_best='multi_label/mAP', rule='greater'))
val_evaluator = dict(class_counts=dict(type='ltmm.VOCMLT', split='train'))  # head and tail by all labels
test_evaluator = val_evaluator
