# Linear probe of the features of cross entropy.
_base_ = './moco_r32_probe.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
