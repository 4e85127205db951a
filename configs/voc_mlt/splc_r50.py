# The authors take the sum and Adam; the rate of this recipe is for the mean.
_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SPLCLoss', reduction='mean')))
