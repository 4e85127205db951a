# SADE's experts on a box head: for the distribution of the training boxes, a balanced and an inverse one
_base_ = './experts_faster-rcnn_mobilenetv2.py'
model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(loss=dict(_delete_=True, type='ltmm.SADELoss')))))
