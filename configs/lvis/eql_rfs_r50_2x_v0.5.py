_base_ = './eql_r50_2x_v0.5.py'

train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=5e-4))
