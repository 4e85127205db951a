# PaCo. Its code runs epoch 11, the one after the warm-up, at 1.1 times the rate.
_base_ = ['./ce_r32.py', '../_base_/pipelines/cifar_ncl.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.MomentumClassifier',
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.PaCoLoss',
            in_channels=64,
            feat_dim=32,
            queue_size=1024,
            temperature=0.05,
            alpha=0.01,
        )
    ),
)
train_dataloader = dict(drop_last=True, dataset=dict(dataset=dict(pipeline={{_base_.query_key_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10),
    dict(type='MultiStepLR', milestones=[321, 361], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
