# LDAM-DRW for each of three experts: RIDE without its diversity term.
_base_ = './ride_r32.py'
model = dict(
    head=dict(
        classifier=dict(scale=1.0),  # the loss scales the cosines
        loss=dict(
            _delete_=True,
            type='ltmm.DeferredReweighting',
            loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='ltmm.LDAMLoss')),
            start_epoch=160,
            kind='effective_number',
            beta=0.9999,
        ),
    )
)
