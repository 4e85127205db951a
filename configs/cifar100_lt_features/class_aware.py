# Joint training with class-balanced sampling, and cRT too: on fixed features they are the same.
_base_ = './ce.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
