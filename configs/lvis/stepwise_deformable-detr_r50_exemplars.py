# Step-wise learning, between stages 0 and 1: select the annotations per class that the detector is most confident of
_base_ = './stepwise_deformable-detr_r50_stage0.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/stepwise_deformable-detr_r50_stage0.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
]
