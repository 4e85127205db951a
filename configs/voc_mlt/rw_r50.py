# Re-weighting by the inverse square root of the training images of a class
_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.DistributionBalancedLoss', reweight='sqrt_inv')))
