# NCL with its contrastive part. Classifier and weight decay are those of its recipe for CIFAR-LT.
_base_ = ['./sade_r152.py', '../_base_/pipelines/ncl_224.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
moco = dict(type='ltmm.MomentumContrastLoss', in_channels=2048, num_experts=3, feat_dim=1024, keys_follow=False)
model = dict(
    type='ltmm.MomentumClassifier',
    momentum=0.999**3,  # of the authors' 0.999, which is applied once per network
    keys_first=True,
    backbone=dict(expert_stages=(0, 1, 2, 3), separate_stem=True),
    head=dict(
        classifier=dict(_delete_=True, type='ltmm.Linear'),
        loss=dict(_delete_=True, type='ltmm.NCLLoss', num_hard=122),
        aux_losses=[moco],
    ),
)
train_dataloader = dict(batch_size=32, drop_last=True, dataset=dict(pipeline={{_base_.query_key_pipeline}}))  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=2e-4), paramwise_cfg=dict(_delete_=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=7 / 15, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[9, 19], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=256)
