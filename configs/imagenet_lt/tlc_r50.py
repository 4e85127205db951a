_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/experts_resnet50.py',
    '../_base_/schedules/experts_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(channels=(64, 128, 256, 512), expert_stages=(3,)),
    head=dict(
        num_classes=1000,
        in_channels=2048,
        aggregation=dict(type='ltmm.EvidentialAggregation', eta=0.5),
        loss=dict(type='ltmm.TLCLoss', reweight_factor=0.02, reweight_epoch=80, kl_epochs=29000),
    ),
)
train_dataloader = dict(batch_size=32)  # x 8 GPUs
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
test_evaluator = [*val_evaluator, dict(type='ltmm.UncertaintyMetric')]
