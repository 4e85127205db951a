# Cross entropy weighted by the inverse frequency from the start.
_base_ = './ce_r32.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='ltmm.ReweightedLoss', loss=dict(type='CrossEntropyLoss'), kind='inverse'),
    )
)
