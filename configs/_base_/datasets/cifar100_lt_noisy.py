# CIFAR100-LT whose training labels are wrong with a probability of 0.4, mostly those of frequent classes. The test
# labels are right.
_base_ = './cifar100_lt.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.NoisyLabels',
        rate=0.4,
        kind='frequency',
        dataset={{_base_.train_dataloader.dataset}},
    )
)
