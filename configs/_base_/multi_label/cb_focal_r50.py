_base_ = './bce_r50.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.DistributionBalancedLoss',
            reweight='CB',
            cb_beta=0.9,
            cb_mode='average_w',
            focal_gamma=2.0,
            balance=2.0,
        )
    )
)
