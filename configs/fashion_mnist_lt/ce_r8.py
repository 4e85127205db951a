_base_ = [
    '../_base_/datasets/fashion_mnist_lt.py',
    '../_base_/models/resnet8_cifar.py',
    '../_base_/schedules/fashion_mnist_8e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=10))
