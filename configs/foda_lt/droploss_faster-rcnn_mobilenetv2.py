_base_ = './eql_faster-rcnn_mobilenetv2.py'

model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(type='ltmm.DropLoss'))))
