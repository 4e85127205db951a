# Views and alpha are those that GPaCo is published with.
_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/paco_400e.py',
    '../_base_/pipelines/two_views_224.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.MomentumClassifier',
    head=dict(num_classes=365, loss=dict(_delete_=True, type='ltmm.PaCoLoss', in_channels=2048, alpha=0.02)),
)
train_dataloader = dict(batch_size=16, drop_last=True, dataset=dict(pipeline={{_base_.two_view_pipeline}}))  # x 8 GPUs
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR')
train_cfg = dict(max_epochs=30, val_interval=5)
