# CIFAR100-LT whose training labels are wrong with a probability of 0.4, mostly those of frequent classes. The test
# labels are right.
_base_ = './cifar100_lt.py'
imbalance_factor = 100
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.NoisyLabels',
        rate=0.4,
        kind='frequency',
        dataset=dict(
            type='ltmm.LongTailed',
            imbalance_factor='${imbalance_factor}',  # also for the groups of the metrics
            dataset={{_base_.train_dataloader.dataset.dataset}},
        ),
    )
)
