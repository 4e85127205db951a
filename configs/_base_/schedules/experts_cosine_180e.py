# The schedule of SADE on ImageNet-LT, batch size 64.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4))
param_scheduler = dict(type='CosineAnnealingLR', T_max=180)
train_cfg = dict(by_epoch=True, max_epochs=180, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
