# KCL in two steps, by tools/train_stages.py: its pre-training, then the classifier of supcon_r32.
_base_ = './supcon_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/kcl_r32_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
