_base_ = './ce_r32.py'
model = dict(head=dict(aux_losses=[dict(type='ltmm.CurvatureLoss', in_channels=64)]))
