# TLC: the experts share only the first convolution. The authors' split has one image more of every class but the first.
_base_ = './ride_r32.py'
model = dict(
    backbone=dict(channels=(16, 32, 64), expert_stages=(0, 1, 2)),
    head=dict(
        in_channels=64,
        aggregation=dict(type='ltmm.EvidentialAggregation', eta=0.2),
        loss=dict(_delete_=True, type='ltmm.TLCLoss', reweight_factor=0.05, reweight_epoch=160, kl_epochs=13200),
    ),
)
test_evaluator = [*_base_.test_evaluator, dict(type='ltmm.UncertaintyMetric')]
