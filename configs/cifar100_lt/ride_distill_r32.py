# RIDE of 3 experts, distilled from one of 6.
_base_ = './ride_r32_6experts.py'
stages = [
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/ride_r32_6experts.py', name='teacher'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    type='ltmm.DistillClassifier',
    teacher=_base_.model,
    teacher_checkpoint='stage://teacher',
    backbone=dict(num_experts=3),
    head=dict(num_experts=3, loss=dict(type='ltmm.RIDEDistillLoss')),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01),
]
