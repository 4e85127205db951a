_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/pipelines/cifar_rotate.py',
    '../_base_/models/experts_resnet32_cifar.py',
    '../_base_/schedules/experts_cifar_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(
        num_classes=100,
        loss=dict(type='ltmm.RIDELoss', diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=160),
    )
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.rotate_pipeline}})))
val_evaluator = [_base_.val_evaluator, dict(type='ltmm.ExpertMetric')]
test_evaluator = [*_base_.test_evaluator, dict(type='ltmm.ExpertMetric')]
