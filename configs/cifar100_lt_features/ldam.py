_base_ = './ce.py'
model = dict(head=dict(classifier=dict(type='ltmm.NormedLinear'), loss=dict(_delete_=True, type='ltmm.LDAMLoss')))
