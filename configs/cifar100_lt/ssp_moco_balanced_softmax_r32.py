# Balanced softmax from a backbone pre-trained by MoCo.
_base_ = './balanced_softmax_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/moco_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
