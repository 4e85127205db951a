# GLMC, then MaxNorm for the classifier that predicts. The authors' code has MaxNorm, but no training with it: the
# second stage is that of weight balancing, from which it comes.
_base_ = './weight_balancing_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/glmc_r32.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(backbone=dict(channels=(64, 128, 256)), head=dict(in_channels=256))
