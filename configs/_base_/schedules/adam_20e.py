# Adam for 20 epochs, for small multi-label sets: its steps do not depend on the scale of a loss.
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3, weight_decay=1e-4))
param_scheduler = dict(type='MultiStepLR', milestones=[14, 18])
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=5)
val_cfg = dict()
test_cfg = dict()
