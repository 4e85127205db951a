_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.VSLoss', gamma=0.05, tau=0.75)))
