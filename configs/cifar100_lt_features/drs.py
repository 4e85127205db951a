_base_ = './ce.py'
before, after = dict(type='DefaultSampler', shuffle=True), dict(type='ltmm.PowerSampler', power=0)
sampler = dict(_delete_=True, type='ltmm.DeferredSampler', before=before, after=after, start_epoch=16)
train_dataloader = dict(sampler=sampler)
