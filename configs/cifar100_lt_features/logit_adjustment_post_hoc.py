# Post-hoc logit adjustment of ce.py; tau is searched on 20 images per class that CIFAR100-LT leaves out.
_base_ = './tau_norm.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.LogitAdjustment'), search=dict(grid=(0, 2, 21))),
]
