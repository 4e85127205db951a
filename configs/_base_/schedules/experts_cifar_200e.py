# The schedule of RIDE on CIFAR-LT.
_base_ = './cifar_200e.py'
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4, nesterov=True))
