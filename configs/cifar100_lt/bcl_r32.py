_base_ = ['./ce_r32.py', '../_base_/pipelines/cifar_bcl.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    head=dict(
        classifier=dict(type='ltmm.NormedLinear', scale=30),
        loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss', loss_weight=2.0),
        cls_views=1,
        aux_losses=[
            dict(type='ltmm.BalancedContrastiveLoss', in_channels=64, feat_dim=128, temperature=0.1, weight=0.6)
        ],
    )
)
train_dataloader = dict(batch_size=256, dataset=dict(dataset=dict(pipeline={{_base_.bcl_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=0.15, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=256)
