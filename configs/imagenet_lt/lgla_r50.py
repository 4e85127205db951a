_base_ = './lgla_rx50.py'
model = dict(backbone=dict(type='ltmm.MultiExpertResNet'), head=dict(loss=dict(tau=2.8)))
