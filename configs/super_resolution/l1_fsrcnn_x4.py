_base_ = './fpl_fsrcnn_x4.py'

model = dict(loss=dict(type='ltmm.PixelLoss'))
