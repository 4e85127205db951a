# Joint training with progressively balanced sampling.
_base_ = './ce_rx50.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ProgressivelyBalancedSampler', total_epochs=90))
