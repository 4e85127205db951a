# CIFAR100-LT with unlabeled images, as in ACR: 4,741 labeled images (150 to 7 per class, imbalance factor 20) and 9,527
# further ones without labels (300 to 15). Their prior: train_dataloader.dataset.unlabeled.prior, or 'uniform' or
# 'reversed'. An epoch is 500 iterations of 64 labeled and 64 unlabeled images.
_base_ = ['./cifar100_lt.py', '../pipelines/cifar_fixmatch.py']
data_preprocessor = dict(type='ltmm.SemiSupervisedDataPreprocessor')
split = dict(type='ltmm.SemiSplit', max_labeled=150, max_unlabeled=300, imbalance_factor=20)
images = dict(type='ltmm.CIFAR100', split='train')
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    collate_fn=dict(_delete_=True, type='ltmm.semi_supervised_collate'),
    sampler=dict(_delete_=True, type='ltmm.SemiSupervisedSampler', ratio=(1, 1), length=64000),
    dataset=dict(
        _delete_=True,
        type='ltmm.SemiSupervised',
        labeled=dict(part='labeled', dataset=dict(pipeline={{_base_.weak_pipeline}}, **images), **split),
        unlabeled=dict(
            part='unlabeled',
            prior='consistent',
            dataset=dict(pipeline={{_base_.one_strong_pipeline}}, **images),
            **split,
        ),
    ),
)
