# DivideMix in the setting of TABASCO. Its authors train 300 epochs, on balanced data.
_base_ = './tabasco_pr18.py'
model = dict(selector=dict(_delete_=True, type='ltmm.LossMixtureSelector'))
