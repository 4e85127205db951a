_base_ = './fpl_fsrcnn_x4_div2k.py'

model = dict(backbone=dict(type='ltmm.CARNM'))
