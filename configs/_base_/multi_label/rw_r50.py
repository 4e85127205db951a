# Weights per class of 1 / sqrt(number of training images).
_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.DistributionBalancedLoss', reweight='sqrt_inv')))
