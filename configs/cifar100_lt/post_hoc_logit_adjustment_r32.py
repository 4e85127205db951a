# Subtracts the log prior from the logits of ce_r32; tau is searched as in tau_norm_r32.
_base_ = './tau_norm_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.LogitAdjustment'), search=dict(grid=(0, 2, 21))),
]
