# Federated loss on 33 photos, a smoke test: its figures say nothing about the method
_base_ = './eql_r50_lvis_mini.py'

loss_cls = dict(_delete_=True, type='ltmm.FederatedLoss', num_sampled_classes=30)  # of 80
model = dict(roi_head=dict(bbox_head=dict(loss_cls=loss_cls)))
