# OLTR: attention, memory and centroid loss on a frozen backbone, class-aware sampling (Liu et al., CVPR 2019).
_base_ = './oltr_r152_stage1.py'
stages = [dict(type='ltmm.TrainStage', config='{{ fileDirname }}/oltr_r152_stage1.py'), dict(type='ltmm.TrainStage')]
model = dict(
    neck=[dict(type='ltmm.ModulatedAttention', in_channels=2048), {{_base_.model.neck}}],
    head=dict(
        classifier=dict(type='ltmm.MetaEmbedding'), aux_losses=[dict(type='ltmm.DiscCentroidsLoss')], init_cfg=None
    ),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='ltmm.LoadPartsHook',
        prefixes=['backbone'],
        rename={'neck': 'neck.1', 'head.fc': 'head.fc.hallucinator'},
    ),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.01), paramwise_cfg=dict(custom_keys={'head.fc.centroids': dict(lr_mult=1)}))
