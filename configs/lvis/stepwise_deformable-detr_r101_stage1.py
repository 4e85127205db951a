_base_ = './stepwise_deformable-detr_r50_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/stepwise_deformable-detr_r101_stage0.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
    dict(type='ltmm.TrainStage'),
]
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
