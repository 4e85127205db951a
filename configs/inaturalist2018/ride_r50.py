_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/experts_resnet50.py',
    '../_base_/schedules/experts_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(
        num_classes=8142,
        loss=dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.015, reweight_epoch=80),
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.2))
auto_scale_lr = dict(base_batch_size=512)
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
test_evaluator = val_evaluator
