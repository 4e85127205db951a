# Cross entropy, class-balanced sampling from epoch 160 on.
_base_ = './ce_r32.py'
train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type='ltmm.DeferredSampler',
        before=dict(type='DefaultSampler', shuffle=True),
        after=dict(type='ltmm.PowerSampler', power=0),
        start_epoch=160,
    )
)
