# OLTR from ce_r32: attention, memory and centroid loss, class-aware sampling, 60 epochs (Liu et al., CVPR 2019).
# The authors have no CIFAR recipe; this is theirs for ImageNet-LT.
_base_ = './ce_r32.py'
stages = [dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'), dict(type='ltmm.TrainStage')]
model = dict(
    backbone=dict(pooled=False),
    neck=[
        dict(type='ltmm.ModulatedAttention', in_channels=64, spatial_size=8),
        dict(type='LinearNeck', in_channels=64, out_channels=64, gap_dim=2, norm_cfg=None, act_cfg=dict(type='ReLU')),
    ],
    head=dict(
        classifier=dict(type='ltmm.MetaEmbedding'), aux_losses=[dict(type='ltmm.DiscCentroidsLoss')], init_cfg=None
    ),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone'], rename={'head.fc': 'head.fc.hallucinator'}),
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10), 'head.fc.centroids': dict(lr_mult=1)}),
)
param_scheduler = [dict(type='StepLR', step_size=20, gamma=0.1)]
train_cfg = dict(max_epochs=60)
