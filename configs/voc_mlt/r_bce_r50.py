_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.DistributionBalancedLoss', alpha=0.1, beta=10.0, mu=0.3)))
train_dataloader = dict(
    drop_last=True,
    sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=3, length='max', reduce=4),
)
