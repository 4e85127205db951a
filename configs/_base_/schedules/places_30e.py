# The first stage of OLTR (Liu et al., CVPR 2019) on Places-LT: the backbone has 1/100 of the head's learning rate.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.01))),
)
param_scheduler = dict(type='StepLR', step_size=10, gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=128)
