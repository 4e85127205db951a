"""A semi-supervised training that takes seconds."""

from mmengine.config import Config
from toy import toy_config

WEAK = [dict(type='RandomFlip', prob=0.5)]
STRONG = [dict(type='RandomFlip', prob=0.5), dict(type='ColorJitter', brightness=0.4)]


def semi_config(work_dir, num_strong=2, loss=None, **overrides) -> Config:
    """The toy training on 64 labeled and 64 unlabeled images; batches of 4 and 4."""
    cfg = toy_config(work_dir)
    views = dict(type='MultiView', num_views=[1, num_strong], transforms=[WEAK, STRONG])
    labeled = dict(type='ltmm.ToyImages', pipeline=[*WEAK, dict(type='PackInputs')])
    cfg.model.type = 'ltmm.SemiSupervisedClassifier'
    cfg.model.data_preprocessor = dict(
        type='ltmm.SemiSupervisedDataPreprocessor', num_classes=3, mean=[128] * 3, std=[64] * 3
    )
    cfg.model.head.loss = loss or dict(type='ltmm.FixMatchLoss', threshold=0.4)
    cfg.train_dataloader.sampler = dict(type='ltmm.SemiSupervisedSampler', length=64)
    cfg.train_dataloader.collate_fn = dict(type='ltmm.semi_supervised_collate')
    cfg.train_dataloader.dataset = dict(
        type='ltmm.SemiSupervised',
        labeled=labeled,
        unlabeled=dict(labeled, pipeline=[views, dict(type='PackInputs')]),
    )
    cfg.custom_hooks += [
        dict(type='EMAHook', ema_type='ltmm.AverageFromStart', momentum=0.01),
        dict(type='ltmm.PseudoLabelHook', interval=4),
    ]
    cfg.merge_from_dict(overrides)
    return cfg
