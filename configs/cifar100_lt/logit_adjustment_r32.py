_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.LogitAdjustmentLoss', tau=1.0)))
