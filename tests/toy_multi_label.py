"""A multi-label training that takes seconds."""

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from toy import toy_config

from ltmm.registry import DATASETS, HOOKS

SHARES = (0.7, 0.3, 0.12)


@DATASETS.register_module()
class ToyMultiLabel(BaseDataset):
    """64 noise images of 8x8, each class a coloured square in its place; a share of the labels hidden or unknown."""

    METAINFO = dict(classes=('left', 'right', 'below'))

    def __init__(self, unlabelled=0.2, **kwargs):
        self.unlabelled = unlabelled
        super().__init__(**kwargs)

    def load_data_list(self):
        rng = np.random.default_rng(0)
        data = []
        for _ in range(64):
            present = rng.random(3) < SHARES
            img = rng.normal(100, 20, (8, 8, 3))
            for c, (y, x) in enumerate(((0, 0), (0, 4), (4, 2))):
                img[y : y + 4, x : x + 4, c] += 120 * present[c]
            score = np.where(rng.random(3) < self.unlabelled, rng.choice([0, -1]), present).astype(np.float32)
            data.append(dict(img=img.clip(0, 255).astype(np.uint8), gt_score=score))
        return data


@HOOKS.register_module()
class DumpStateHook(Hook):
    """Every rank writes the state dict that it holds after the training."""

    def after_train(self, runner):
        torch.save(runner.model.module.state_dict(), f'{runner.work_dir}/rank_{get_rank()}.pth')


def toy_comic_config(work_dir, **overrides):
    """COMIC on it, four epochs."""
    cfg = toy_config(work_dir)
    cfg.custom_imports.imports.append('toy_multi_label')
    cfg.model = dict(
        type='ltmm.COMIC',
        data_preprocessor=dict(num_classes=3, mean=[128] * 3, std=[64] * 3),
        backbone=dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8)),
        neck=dict(type='ltmm.FeatureProjection', in_channels=8, out_channels=8),
        head=dict(type='ltmm.COMICHead', num_classes=3, in_channels=8),
    )
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.01))
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.type = 'ltmm.ToyMultiLabel'
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.MultiLabelMetric')
    cfg.merge_from_dict(overrides)
    return cfg
