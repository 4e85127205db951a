# Without re-weighting; neg_scale depends on the data set.
_base_ = './bce_r50.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.DistributionBalancedLoss',
            reweight=None,
            init_bias=0.05,
            focal_gamma=2.0,
            balance=2.0,
        )
    )
)
