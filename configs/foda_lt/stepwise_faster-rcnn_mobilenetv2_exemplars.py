# Step-wise learning, after stage 0: select the annotations per class that the detector is most confident of
_base_ = './softmax_faster-rcnn_mobilenetv2.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_faster-rcnn_mobilenetv2.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
]
