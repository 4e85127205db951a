# Joint training with class-balanced sampling.
_base_ = './ce_r32.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
