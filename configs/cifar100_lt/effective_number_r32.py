_base_ = './inverse_r32.py'
model = dict(head=dict(loss=dict(kind='effective_number', beta=0.9999)))
