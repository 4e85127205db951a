_base_ = './fpl_fsrcnn_x4_div2k.py'

model = dict(backbone=dict(type='ltmm.SRResNet'))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
