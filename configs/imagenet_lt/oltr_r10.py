# OLTR: attention, memory and centroid loss, class-aware sampling, 60 epochs (Liu et al., CVPR 2019).
_base_ = './oltr_r10_stage1.py'
stages = [dict(type='ltmm.TrainStage', config='{{ fileDirname }}/oltr_r10_stage1.py'), dict(type='ltmm.TrainStage')]
model = dict(
    neck=[
        dict(type='ltmm.ModulatedAttention', in_channels=512),
        dict(type='LinearNeck', in_channels=512, out_channels=512, gap_dim=2, norm_cfg=None, act_cfg=dict(type='ReLU')),
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
param_scheduler = dict(step_size=20)
train_cfg = dict(max_epochs=60)
