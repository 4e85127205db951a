# FSRCNN (d 56, s 12, m 4) on the residual over the bicubic enlargement.
model = dict(type='ltmm.ResidualSR', backbone=dict(type='ltmm.FSRCNN'), loss=dict(type='ltmm.FocalPixelLoss'), scale=4)
