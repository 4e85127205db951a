_base_ = './ce.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='ltmm.ReweightedLoss', loss=dict(type='CrossEntropyLoss'), kind='inverse'))
)
