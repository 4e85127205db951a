# mu depends on the data set.
_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.DistributionBalancedLoss', alpha=0.1, beta=10.0)))
