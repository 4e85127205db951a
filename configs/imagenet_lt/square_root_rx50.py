# Joint training with square-root sampling.
_base_ = './ce_rx50.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.PowerSampler', power=0.5))
