_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/pipelines/weak_strong_224.py',
    '../_base_/models/experts_resnext50.py',
    '../_base_/schedules/experts_cosine_180e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=1000, loss=dict(type='ltmm.MDCSLoss')))
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
train_dataloader = dict(batch_size=32, dataset=dict(pipeline={{_base_.weak_strong_pipeline}}))  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.1))
auto_scale_lr = dict(base_batch_size=256)
val_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
test_evaluator = val_evaluator
