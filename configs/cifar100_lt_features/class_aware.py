# Joint training with class-balanced sampling; on fixed features this is also cRT.
_base_ = './ce.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
