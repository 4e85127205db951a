# LFME: three experts, then a student that learns from them at its own pace. It is steered by the accuracy on a holdout,
# 20 training images per class that CIFAR100-LT leaves out (none of class 0), never by the test set. The authors have no
# CIFAR recipe; the schedule is that of ce_r32.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/lfme_r32_many.py', name='many'),
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/lfme_r32_medium.py', name='medium'),
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/lfme_r32_few.py', name='few'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    type='ltmm.LFMEClassifier',
    teachers=dict(
        many=dict(num_classes=35, checkpoint='stage://many'),
        medium=dict(num_classes=34, checkpoint='stage://medium'),
        few=dict(num_classes=31, checkpoint='stage://few'),
    ),
    head=dict(loss=dict(_delete_=True, type='ltmm.LFMELoss')),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
images = dict(type='ltmm.CIFAR100', split='train', pipeline=[dict(type='PackInputs')], test_mode=True)
left_out = dict(_delete_=True, type='ltmm.LongTailed', imbalance_factor=100, val_images=20, dataset=images)
val_dataloader = dict(dataset=left_out)
val_evaluator = [dict(type='ltmm.LongTailMetric', convention='oltr'), dict(type='ltmm.TeacherMetric')]
train_cfg = dict(val_interval=1)
