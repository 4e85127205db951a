# Logit adjustment of ce.py after training; its strength by 20 images a class that CIFAR100-LT leaves out.
_base_ = './tau_norm.py'
post_process = dict(step=dict(type='ltmm.LogitAdjustment'))
