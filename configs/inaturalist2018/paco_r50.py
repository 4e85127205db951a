_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/paco_400e.py',
    '../_base_/pipelines/ncl_224.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.MomentumClassifier',
    head=dict(num_classes=8142, loss=dict(_delete_=True, type='ltmm.PaCoLoss', in_channels=2048)),
)
train_dataloader = dict(batch_size=16, drop_last=True, dataset=dict(pipeline={{_base_.query_key_pipeline}}))  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
