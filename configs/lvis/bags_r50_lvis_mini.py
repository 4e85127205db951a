# Balanced group softmax on 33 photos, a smoke test: its figures say nothing about the method
_base_ = './eql_r50_lvis_mini.py'

loss_cls = dict(_delete_=True, type='ltmm.BalancedGroupSoftmaxLoss', group_bounds=(3, 10))  # boxes: 1 to 73
model = dict(roi_head=dict(bbox_head=dict(loss_cls=loss_cls)))
