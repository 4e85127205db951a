# Classes as often as each other, as the loss supposes; a class that lost all its labels is left out.
_base_ = './bce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.DistributionBalancedLoss', alpha=0.1, beta=10.0, mu=0.2)))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.PowerSampler', power=0))
