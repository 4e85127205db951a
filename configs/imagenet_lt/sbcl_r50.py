# SBCL in three steps, by tools/train_stages.py: KCL, sub-classes, and the classifier of kcl_r50.
_base_ = './kcl_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/kcl_r50_stage1.py'),
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/sbcl_r50_stage2.py'),
    dict(type='ltmm.TrainStage'),
]
