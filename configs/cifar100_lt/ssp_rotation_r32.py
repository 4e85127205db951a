# SSP: cross entropy from a backbone pre-trained by rotations, the authors' recipe.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/rotation_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
