# The schedule of distribution-balanced loss: 500 iterations of warm-up, learning rate 0.02, 0.002 from epoch 6, 0.0002
# from epoch 8; for losses that are averaged over images and classes.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4), clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, begin=0, end=501, by_epoch=False),  # as mmcv, full at iteration 500
    dict(type='MultiStepLR', milestones=[5, 7]),
]
train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=4)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
