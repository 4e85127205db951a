_base_ = ['./ce_r32.py']
model = dict(
    backbone=dict(_delete_=True, type='ltmm.MultiExpertResNetCIFAR', depth=32, channels=(16, 24, 48), num_experts=3),
    neck=None,
    head=dict(
        _delete_=True,
        type='ltmm.MultiExpertClsHead',
        num_classes=100,
        num_experts=3,
        in_channels=48,
        classifier=dict(type='ltmm.NormedLinear', scale=30.0),
        loss=dict(type='ltmm.GBMELoss'),
    ),
)
train_cfg = dict(prior='proxy', experts=dict(start=0.6, share=0.8))
