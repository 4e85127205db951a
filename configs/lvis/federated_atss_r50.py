# Focal loss on the drawn classes
_base_ = './eqlv2_atss_r50.py'

model = dict(bbox_head=dict(loss_cls=dict(type='ltmm.FederatedLoss', gamma=2.0, alpha=0.25)))
