# Linear probe of rotations.
_base_ = './moco_r32_probe.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/rotation_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
