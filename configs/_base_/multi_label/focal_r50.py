_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.MultiLabelFocalLoss', gamma=2.0, balance=2.0)))
