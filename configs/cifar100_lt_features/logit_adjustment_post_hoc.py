# Post-hoc logit adjustment of ce.py; tau is searched on 20 images per class that CIFAR100-LT leaves out.
_base_ = './tau_norm.py'
post_process = dict(step=dict(type='ltmm.LogitAdjustment'))
