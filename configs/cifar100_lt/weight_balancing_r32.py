# Weight balancing: the classifier of ce_r32_wd5e-3, trained on with balanced weights, MaxNorm and weight decay 0.1.
_base_ = './ce_r32_wd5e-3.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32_wd5e-3.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
    dict(type='ltmm.MaxNormHook'),
]
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='ltmm.ReweightedLoss',
            loss=dict(type='ltmm.SoftmaxBCELoss'),
            kind='effective_number',
            beta=0.9999,
            normalize='batch_size',
        )
    )
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.1))
train_cfg = dict(max_epochs=10)
