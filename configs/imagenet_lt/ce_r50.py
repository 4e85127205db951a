_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=1000))
