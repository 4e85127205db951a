# The authors' schedule, with as many iterations as on balanced CIFAR100 (github.com/google-research/google-research
# @1d4d2f1, logit_adjustment). Their network is another ResNet-32, and they pad images by 2 pixels, not 4.
_base_ = './logit_adjustment_r32.py'
optim_wrapper = dict(optimizer=dict(nesterov=True), paramwise_cfg=dict(norm_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 22, begin=0, end=22),
    dict(type='MultiStepLR', milestones=[691, 1059, 1290], gamma=0.1),
]
train_cfg = dict(max_epochs=1419)
