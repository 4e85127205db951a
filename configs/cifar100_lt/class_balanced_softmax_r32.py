_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9999)))
