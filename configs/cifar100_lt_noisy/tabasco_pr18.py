# TABASCO by the authors' recipe for CIFAR-100 (github.com/Wakings/TABASCO @712992b), factor 100, symmetric noise.
# Asymmetric noise, 0.2 or 0.4 there: --cfg-options train_dataloader.dataset.kind=flip train_dataloader.dataset.rate=0.2
_base_ = [
    '../_base_/datasets/cifar100_lt_noisy.py',
    '../_base_/models/co_divide_preact_r18.py',
    '../_base_/pipelines/cifar_weak_strong.py',
    '../_base_/default_runtime.py',
]
two_views = [dict(type='MultiView', num_views=[2], transforms=[{{_base_.crop_and_flip}}]), dict(type='PackInputs')]
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(num_classes=100), selector=dict(type='ltmm.BiDimensionalSelector'), warmup_epochs=30)
train_dataloader = dict(
    batch_size=64,
    batch_sampler=dict(type='ltmm.CoDivideBatchSampler'),
    dataset=dict(kind='symmetric', dataset=dict(dataset=dict(pipeline=two_views))),
)
shots = dict(class_counts='${train_dataloader.dataset.dataset}')  # by the true labels
val_evaluator = shots
test_evaluator = [dict(type='ltmm.LongTailMetric', **shots), dict(type='ltmm.CalibrationMetric', **shots)]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.CoDivideHook')]
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4))
train_cfg = dict(by_epoch=True, max_epochs=101, val_interval=10)
val_cfg = test_cfg = dict()
