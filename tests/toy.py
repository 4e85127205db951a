"""A training that takes seconds: a tiny long-tailed dataset, a tiny network, and their config."""

import argparse
import copy
import functools
import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from torch import nn

from ltmm.registry import DATASETS, HOOKS, MODELS
from ltmm.utils.references import resolve_references

ROOT = Path(__file__).parents[1]

COUNTS = (40, 16, 8)


def read_config(path: Path) -> Config:
    """The config, read once in a process; a copy, to be changed at will."""
    return copy.deepcopy(_read_once(path))


@functools.cache
def _read_once(path: Path) -> Config:
    cfg = Config.fromfile(path)
    if path.parent.name == 'own_data':  # the values that its user states
        cfg.merge_from_dict(dict(data_root='my', num_classes=3))
        resolve_references(cfg)
    return cfg


def readme_options(config: str) -> dict:
    """The --cfg-options of the first command with this config in the README of its folder."""
    readme = (ROOT / config).parent / 'README.md'
    command = re.search(rf'^python tools/\S+ {config} .*\n(    .*\n)*', readme.read_text(), re.M)[0]
    expanded = subprocess.run(['bash', '-c', f'echo {command}'], capture_output=True, text=True, check=True).stdout
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_known_args(expanded.split())[0].cfg_options


@DATASETS.register_module()
class ToyImages(BaseDataset):
    """8x8 colour images, noise around a mean that tells the class; COUNTS[c] images of class c."""

    METAINFO = dict(classes=('plain', 'spotted', 'striped'))

    def __init__(self, counts=COUNTS, metainfo=None, **kwargs):
        self.counts = counts
        metainfo = metainfo or dict(classes=tuple(f'class {i}' for i in range(len(counts))))
        super().__init__(metainfo=metainfo, **kwargs)

    def load_data_list(self):
        rng = np.random.default_rng(len(self.counts))
        return [
            dict(img=rng.normal(60 + 60 * c, 30, (8, 8, 3)).clip(0, 255).astype(np.uint8), gt_label=c)
            for c, count in enumerate(self.counts)
            for _ in range(count)
        ]


@MODELS.register_module()
class FlatPixels(nn.Module):
    """A backbone without parameters."""

    def forward(self, x):
        return (x.flatten(1),)


@HOOKS.register_module()
class StopHook(Hook):
    """Ends the training after an iteration: by an exception, or the hard way, by SIGKILL."""

    def __init__(self, at_iter, kill=False):
        self.at_iter = at_iter
        self.kill = kill

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.at_iter:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Stopped


class Stopped(Exception):
    """Raised by StopHook."""


def toy_config(work_dir, **overrides) -> Config:
    """The config of the toy training; ``overrides`` as in --cfg-options."""
    runtime = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    pipeline = [
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackInputs', meta_keys=('sample_idx',)),
    ]

    def loader(train):
        return dict(
            batch_size=8,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=train),
            dataset=dict(type='ltmm.ToyImages', pipeline=pipeline if train else pipeline[1:], test_mode=not train),
        )

    runtime.merge_from_dict(
        dict(
            custom_imports=dict(imports=['toy'], allow_failed_imports=False),
            work_dir=str(work_dir),
            model=dict(
                type='ImageClassifier',
                data_preprocessor=dict(num_classes=3, mean=[128] * 3, std=[64] * 3),
                backbone=dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8)),
                head=dict(
                    type='ltmm.LongTailClsHead',
                    num_classes=3,
                    in_channels=8,
                    loss=dict(type='ltmm.BalancedSoftmaxLoss'),
                ),
            ),
            train_dataloader=loader(train=True),
            val_dataloader=loader(train=False),
            test_dataloader=loader(train=False),
            val_evaluator=dict(type='Accuracy'),
            test_evaluator=dict(type='Accuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=4),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=[dict(type='MultiStepLR', milestones=[3])],
            experiment_name=str(work_dir).replace(os.sep, '_'),  # two runs of one name in a second would share a log
        )
    )
    runtime.merge_from_dict(overrides)
    return runtime
