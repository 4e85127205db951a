# Our Mask R-CNN form of step-wise learning; stage 0 is softmax_r50_2x.py
_base_ = './softmax_r50_2x.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_r50_2x.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
]
