# ADELLO in 32 px.
_base_ = './fixmatch_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.ADELLOLoss')))
