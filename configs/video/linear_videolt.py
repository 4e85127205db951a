_base_ = [
    '../_base_/datasets/videolt_features.py',
    '../_base_/models/linear_on_features.py',
    '../_base_/schedules/features_20e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=1004, in_channels=2048))
default_hooks = dict(checkpoint=dict(interval=10))  # saving takes as long as an epoch
