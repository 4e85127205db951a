# Subtracts the log prior from the logits of ce_r32; tau is searched as in tau_norm_r32.
_base_ = './tau_norm_r32.py'
post_process = dict(step=dict(type='ltmm.LogitAdjustment'))
