# RIDE with its expert assignment: a router learns on the frozen network of ride_r32 which images need another expert.
# Epochs and schedule of this stage are ours.
_base_ = './ride_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ride_r32.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone', 'head.fc']),
    dict(type='ltmm.FreezeHook', keep=['head.router'], norm_eval=True),
]
model = dict(
    type='ltmm.EarlyExitClassifier',
    head=dict(type='ltmm.ExpertRoutingHead', loss=dict(_delete_=True, type='ltmm.ExpertRoutingLoss')),
)
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=10)
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.EarlyExitMetric')]
test_evaluator = [*val_evaluator, dict(type='ltmm.CalibrationMetric')]
