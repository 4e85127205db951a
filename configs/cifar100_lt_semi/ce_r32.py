# Cross entropy on the labeled images alone, with the recipe of the long-tailed benchmarks.
_base_ = '../cifar100_lt/ce_r32.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.SemiSplit',
        part='labeled',
        max_labeled=150,
        imbalance_factor=20,
        max_unlabeled=300,
        dataset=dict(type='ltmm.CIFAR100', split='train', pipeline={{_base_.train_pipeline}}),
    )
)
