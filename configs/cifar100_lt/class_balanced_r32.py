# The authors' best loss for factor 100; the bias starts at -log(99) and does not decay, as in their code
# (github.com/richardaecn/class-balanced-loss @1d78572).
_base_ = './ce_r32.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.9, gamma=1.0),
        init_cfg=dict(bias=-4.595),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc.bias': dict(decay_mult=0.0)}))
test_evaluator = [_base_.val_evaluator]  # no calibration error: one sigmoid per class
