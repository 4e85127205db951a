# Temperature scaling of ce.py, fitted on 20 images per class that CIFAR100-LT leaves out.
_base_ = './tau_norm.py'
post_process = dict(step=dict(type='ltmm.TemperatureScaling'), search=dict(grid=(0.5, 4, 36)))
