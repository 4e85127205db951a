_base_ = './bacl_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/bacl_r101_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
