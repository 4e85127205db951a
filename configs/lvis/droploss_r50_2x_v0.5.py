_base_ = './eql_r50_2x_v0.5.py'

model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(type='ltmm.DropLoss'))))
