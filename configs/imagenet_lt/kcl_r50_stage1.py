# KCL, pre-training of kcl_r50 and the first half of that of sbcl_r50: MoCo v2 with 6 positives of the own class.
_base_ = ['./ce_r50.py', '../_base_/pipelines/two_views_224.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.MomentumClassifier',
    head=dict(
        _delete_=True, type='ltmm.PretrainHead', loss=dict(type='ltmm.KCLLoss', in_channels=2048, queue_size=65536)
    ),
)
train_dataloader = dict(
    batch_size=32, drop_last=True, dataset=dict(pipeline={{_base_.large_view_pipeline}})
)  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=1e-4))
train_cfg = dict(max_epochs=200)
auto_scale_lr = dict(base_batch_size=256)
val_cfg = val_dataloader = val_evaluator = None
