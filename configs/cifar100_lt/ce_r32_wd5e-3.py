# Cross entropy with the weight decay and schedule of weight balancing and label over-smoothing, which alone make up for
# much of the imbalance.
_base_ = './ce_r32.py'
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=5e-3))
param_scheduler = [dict(type='CosineAnnealingLR')]
auto_scale_lr = dict(base_batch_size=64)
