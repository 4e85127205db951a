# LDAM without DRW; the loss scales the cosines.
_base_ = './ce_r32.py'
model = dict(head=dict(classifier=dict(type='ltmm.NormedLinear'), loss=dict(_delete_=True, type='ltmm.LDAMLoss')))
