_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/places_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=365))
train_dataloader = dict(batch_size=16)  # x 8 GPUs
