# Weight balancing: the classifier of ce.py, trained on with class-balanced weights, MaxNorm and a large weight decay.
# The learning rate is from a split of the training set.
_base_ = './ce.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.MaxNormHook')]
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
optim_wrapper = dict(optimizer=dict(lr=0.001, weight_decay=0.1))
train_cfg = dict(max_epochs=10, val_interval=10)
