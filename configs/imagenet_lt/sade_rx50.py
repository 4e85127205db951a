_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/experts_resnext50.py',
    '../_base_/schedules/experts_cosine_180e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=1000, loss=dict(type='ltmm.SADELoss', tau=2.0)))
train_dataloader = dict(batch_size=32)  # x 2 GPUs
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
test_evaluator = val_evaluator
