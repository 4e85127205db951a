# Step-wise learning on FOD-A-LT, all stages: run tools/train_stages.py with this config
_base_ = './stepwise_faster-rcnn_mobilenetv2_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_faster-rcnn_mobilenetv2.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/stepwise_faster-rcnn_mobilenetv2_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    type='ltmm.DistillTwoStageDetector',
    teacher_checkpoint='stage://stepwise_faster-rcnn_mobilenetv2_stage1',
    loss_kd=dict(type='ltmm.QuerySharedKDLoss'),
    loss_feature=dict(type='ltmm.MaskedFeatureLoss'),
)
train_dataloader = dict(
    dataset=dict(exemplars_per_class=(None, 100, 50, 50)),  # the authors' sizes are not published
    sampler=dict(threshold=0.06, power=(1, 1, 0, 0)),
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(type='MultiStepLR', milestones=[1])]
train_cfg = dict(max_epochs=2, val_interval=2)
