# The second stage of MiSLAS on ce.py: label-aware smoothing, a scale per class, the classifier at a fifth of its rate.
_base_ = './lws.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.LabelAwareSmoothingLoss', smooth_head=0.4, smooth_tail=0.1)))
custom_hooks = _base_.custom_hooks[:-1]  # nothing is frozen
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.2), 'head.fc.scale': dict(lr_mult=1.0)}),
)
