# Focal loss on the drawn classes, as Detic has it
_base_ = './eql_deformable-detr_r50.py'

loss_cls = dict(_delete_=True, type='ltmm.FederatedLoss', gamma=2.0, alpha=0.25, loss_weight=2.0)
model = dict(bbox_head=dict(loss_cls=loss_cls))
