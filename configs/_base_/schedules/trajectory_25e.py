# The schedule of FEND: Adam, a decay every iteration, gradients clipped by value.
optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.003), clip_grad=dict(type='value', clip_value=1.0))
param_scheduler = [dict(type='ExponentialLR', gamma=0.9999, by_epoch=False)]
train_cfg = dict(by_epoch=True, max_epochs=25, val_interval=25)
val_cfg = dict()
test_cfg = dict()
