# Train ride_r32_6experts.py first
_base_ = './ride_r32.py'
model = dict(
    type='ltmm.DistillClassifier',
    teacher='{{fileDirname}}/ride_r32_6experts.py',
    teacher_checkpoint='work_dirs/cifar100_lt/ride_r32_6experts/epoch_200.pth',
    head=dict(loss=dict(type='ltmm.RIDEDistillLoss')),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01),
]
