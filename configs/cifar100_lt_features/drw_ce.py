_base_ = './ce.py'
drw = dict(type='ltmm.DeferredReweighting', start_epoch=16, kind='effective_number', beta=0.9999)
model = dict(head=dict(loss=dict(_delete_=True, loss=dict(type='CrossEntropyLoss'), **drw)))
