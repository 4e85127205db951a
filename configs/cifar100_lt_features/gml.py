_base_ = './ce.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.GeometricMeanLoss')))
