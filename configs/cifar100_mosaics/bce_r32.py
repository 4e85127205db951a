_base_ = [
    '../_base_/datasets/cifar100_mosaics.py',
    '../_base_/models/multi_label_resnet32_cifar.py',
    '../_base_/schedules/adam_20e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=50))
