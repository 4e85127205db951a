_base_ = './bcl_rx50.py'
model = dict(backbone=dict(_delete_=True, type='ResNet', depth=50, zero_init_residual=False))
