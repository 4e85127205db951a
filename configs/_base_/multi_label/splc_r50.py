# Averaged, as the learning rate of this recipe needs it; the authors sum and use Adam.
_base_ = './bce_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SPLCLoss', reduction='mean')))
