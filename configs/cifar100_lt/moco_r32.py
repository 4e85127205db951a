# Cross entropy from a backbone pre-trained by MoCo v2. Any config may be the second stage:
#   --cfg-options stages.1.config=configs/cifar100_lt/vs_r32.py
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/moco_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
