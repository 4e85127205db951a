_base_ = './inverse_r32.py'
model = dict(head=dict(loss=dict(kind='sqrt_inverse')))
