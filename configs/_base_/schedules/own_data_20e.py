# 20 epochs for one device: warm-up and cosine, validation each epoch, the best checkpoint, early stopping
_base_ = '../default_runtime.py'

max_epochs = 20
lr = 0.01
best = 'long_tail/balanced_accuracy'
patience = 10  # epochs without a better validation, which a lucky photo of a rare class may delay

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr='${lr}', momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(type='ltmm.WarmupCosineLR', warmup=0.1, by_epoch=False)
train_cfg = dict(by_epoch=True, max_epochs='${max_epochs}', val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1, save_best='${best}', rule='greater'))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.EarlyStoppingHook', monitor='${best}', rule='greater', patience='${patience}', min_delta=1e-4),
]
