_base_ = './ce.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SigmoidFocalLoss', gamma=2.0)))
