_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/experts_resnet152.py',
    '../_base_/schedules/experts_places_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=365, loss=dict(type='ltmm.SADELoss', tau=1.0)))
train_dataloader = dict(batch_size=16)  # x 8 GPUs
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
test_evaluator = val_evaluator
