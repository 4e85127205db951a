# The authors' recipe of Causal TDE (github.com/KaihuaTang/Long-Tailed-Recognition.pytorch @5c916d0), from weights of
# ImageNet. Their schedule is stepped before each epoch: the last one has rate 0.
_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(
        num_classes=365,
        classifier=dict(type='ltmm.CausalCosine', mode='tde', num_heads=2, alpha=3.0, lr_bound=0.02),
    )
)
train_dataloader = dict(batch_size=64)  # x 8 GPUs
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR', reaches_zero=True)
