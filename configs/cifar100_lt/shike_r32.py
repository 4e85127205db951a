# SHIKE by the authors' recipe (github.com/jinyan-06/SHIKE @2b04b62), without its float16. The second stage trains new
# classifiers by balanced softmax on the frozen experts of the first, whose batch-norm statistics go on moving.
_base_ = './shike_r32_stage1.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/shike_r32_stage1.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='ltmm.PerExpertLoss', loss=dict(type='ltmm.BalancedSoftmaxLoss')),
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),
]
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [dict(type='LinearLR', start_factor=0.375, end=6), dict(type='CosineAnnealingLR', begin=5)]
train_cfg = dict(max_epochs=20)
