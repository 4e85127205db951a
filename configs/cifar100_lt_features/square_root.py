_base_ = './ce.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.PowerSampler', power=0.5))
