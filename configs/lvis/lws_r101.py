_base_ = './lws_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_r101.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
