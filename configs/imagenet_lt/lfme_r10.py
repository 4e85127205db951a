# LFME: three experts, then a student, steered by its accuracy on the validation split (Xiang et al., ECCV 2020). The
# authors' code steps the schedule before each epoch: the rate drops one epoch before 50 and 80.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet10_fc.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/default_runtime.py',
]
stages = [
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/lfme_r10_many.py', name='many'),
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/lfme_r10_medium.py', name='medium'),
    dict(type='ltmm.TeacherStage', config='{{ fileDirname }}/lfme_r10_few.py', name='few'),
    dict(type='ltmm.TrainStage'),
]
widths = dict(many=391, medium=463, few=146)
teachers = {name: dict(num_classes=width, checkpoint=f'stage://{name}') for name, width in widths.items()}
head = dict(num_classes=1000, loss=dict(_delete_=True, type='ltmm.LFMELoss'))
model = dict(type='ltmm.LFMEClassifier', teachers=teachers, head=head)
train_dataloader = dict(batch_size=32, sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))  # x 8 GPUs
val_evaluator = [dict(type='ltmm.LongTailMetric', convention='oltr'), dict(type='ltmm.TeacherMetric')]
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[49, 79], gamma=0.1)
train_cfg = dict(val_interval=1)
auto_scale_lr = dict(base_batch_size=256)
