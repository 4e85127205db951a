# RIDE's experts on a box head: margins, diversity, re-weighting from the drop of the learning rate on
_base_ = './lgla_faster-rcnn_mobilenetv2.py'
ride = dict(_delete_=True, type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=6)
model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(loss=ride))))
