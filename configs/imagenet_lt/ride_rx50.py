_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/experts_resnext50.py',
    '../_base_/schedules/experts_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(
        num_classes=1000,
        loss=dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=80),
    )
)
train_dataloader = dict(batch_size=32)  # x 8 GPUs
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
test_evaluator = val_evaluator
