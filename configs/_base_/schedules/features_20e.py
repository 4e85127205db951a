# 20 epochs on features, seconds on a CPU. The learning rate suits unnormalized features with a norm of about 80.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.003, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=20)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=128)
