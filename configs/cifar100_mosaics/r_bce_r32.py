# Class-balanced sampling, as the loss assumes; classes without a label left are never drawn.
_base_ = './bce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.DistributionBalancedLoss', alpha=0.1, beta=10.0, mu=0.2)))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.PowerSampler', power=0))
