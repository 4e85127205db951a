_base_ = './r_bce_r50.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.DistributionBalancedLoss',
            reweight=None,
            neg_scale=2.0,
            init_bias=0.05,
            focal_gamma=2.0,
            balance=2.0,
        )
    )
)
