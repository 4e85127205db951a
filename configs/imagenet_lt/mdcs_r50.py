_base_ = './mdcs_rx50.py'
model = dict(backbone=dict(type='ltmm.MultiExpertResNet'))
