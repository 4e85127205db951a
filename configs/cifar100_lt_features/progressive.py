_base_ = './ce.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ProgressivelyBalancedSampler', total_epochs=20))
