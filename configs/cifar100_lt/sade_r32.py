_base_ = './ride_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SADELoss', tau=2.0)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.1),
]
