# The authors' recipe (github.com/kaidic/LDAM-DRW @2536330).
_base_ = './ldam_r32.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.DeferredReweighting',
            loss=dict(type='ltmm.LDAMLoss'),
            start_epoch=160,
            kind='effective_number',
            beta=0.9999,
        )
    )
)
