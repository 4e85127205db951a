_base_ = './bce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.ASLLoss')))
