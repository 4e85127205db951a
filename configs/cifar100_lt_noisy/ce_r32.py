# Cross entropy, the baseline without anything against noise or tail, with the recipe of the long-tailed benchmarks.
_base_ = [
    '../_base_/datasets/cifar100_lt_noisy.py',
    '../_base_/models/resnet32_cifar.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=100))
val_evaluator = dict(class_counts='${train_dataloader.dataset.dataset}')  # shots by the true labels
test_evaluator = [
    dict(type='ltmm.LongTailMetric', **val_evaluator),
    dict(type='ltmm.CalibrationMetric', **val_evaluator),
]
