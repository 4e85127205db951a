# Step-wise learning, stage 1, the expert of head classes: only classifiers and neck, one epoch on exemplars and tail
_base_ = './stepwise_deformable-detr_r50_stage0.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/stepwise_deformable-detr_r50_stage0.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
    dict(type='ltmm.TrainStage'),
]
repeat = dict(threshold=0.003, power=(0.5, 0.5, 0.3, 0), group_bounds=(10, 30, 100), rounding='ceil')
train_dataloader = dict(
    dataset=dict(
        type='ltmm.SmoothTailDataset',
        exemplar_file='stage://exemplar_mining',
        exemplars_per_class=(None, 100, 200, 200),  # for classes with up to 10, 30, 100 and more images
    ),
    sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', **repeat),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', keep=['bbox_head.cls_branches', 'neck'])]

optim_wrapper = dict(optimizer=dict(lr=2e-5))
param_scheduler = []
train_cfg = dict(max_epochs=1, val_interval=1)
