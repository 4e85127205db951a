# Pseudo-labels of imbalanced-semi-self (github.com/YyzHarry/imbalanced-semi-self @b91ad29): train on the labeled
# images, label the others, train LDAM-DRW on both from scratch. Their pool, 80 Million Tiny Images, is withdrawn.
_base_ = '../cifar100_lt/ldam_drw_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.PseudoLabelStage'),
    dict(type='ltmm.TrainStage'),
]
images = dict(type='ltmm.CIFAR100', split='train', pipeline={{_base_.train_pipeline}})
split = dict(type='ltmm.SemiSplit', max_labeled=150, max_unlabeled=300, imbalance_factor=20, include_labeled=False)
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        _delete_=True,
        type='ltmm.PseudoLabeled',
        labeled=dict(split, part='labeled', dataset=images),
        unlabeled=dict(split, part='unlabeled', dataset=images),
        pseudo_labels='stage://pseudo_label',
    ),
)
