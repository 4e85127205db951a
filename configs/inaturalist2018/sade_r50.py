_base_ = './ride_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SADELoss', tau=1.0)))
