_base_ = './eql_deformable-detr_r50.py'

model = dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='ltmm.EQLv2Loss', loss_weight=2.0)))
