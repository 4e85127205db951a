# EQLv2 end to end on 33 photos, to see that everything runs: its figures say nothing about the method
_base_ = './eql_r50_lvis_mini.py'

model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='ltmm.EQLv2Loss'))))
