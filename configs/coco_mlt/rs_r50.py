_base_ = './r_bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.MultiLabelBCELoss')))
