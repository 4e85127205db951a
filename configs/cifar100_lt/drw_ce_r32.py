# Cross entropy, re-weighted from epoch 160 on.
_base_ = './ce_r32.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.DeferredReweighting',
            loss=dict(type='CrossEntropyLoss'),
            start_epoch=160,
            kind='effective_number',
            beta=0.9999,
        )
    )
)
