_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SoftmaxFocalLoss', gamma=0.5, detach_focus=True)))
