# SSP: LDAM-DRW from a backbone pre-trained by rotations.
_base_ = './ldam_drw_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/rotation_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
