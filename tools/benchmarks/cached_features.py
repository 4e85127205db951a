"""A training iteration of a classifier on cached features against one through the frozen backbone."""

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.config import Config
from pair import Pair
from training import CLASSES, LABELS, ROOT, iterations

BACKBONES = {
    'ResNet-50, 64 px, batch 128': ('configs/cifar100_lt_features/resnet50_64px.py', 2048),
    'ResNet-32, 32 px, batch 128': ('configs/cifar100_lt/ce_r32.py', 64),
}


def classifier(width: int) -> Config:
    cfg = Config.fromfile(ROOT / 'configs/cifar100_lt_features/class_aware.py')
    cfg.model.head.in_channels = width
    return cfg


def on_features(width: int, folder: Path) -> Config:
    np.save(folder / 'train_features.npy', np.random.default_rng(0).random((len(LABELS), width), dtype=np.float32))
    np.save(folder / 'train_labels.npy', LABELS)
    (folder / 'train_info.json').write_text(json.dumps(dict(classes=CLASSES)))
    cfg = classifier(width)
    cfg.train_dataloader.dataset = dict(type='ltmm.FeatureDataset', data_root=str(folder), split='train')
    return cfg


def through_backbone(config: str, width: int) -> Config:
    images, cfg = Config.fromfile(ROOT / config), classifier(width)
    cfg.data_preprocessor = images.data_preprocessor
    cfg.model.backbone = {**images.model.backbone, 'init_cfg': None}
    cfg.model.neck = images.model.get('neck')
    pipeline = images.get('pipeline') or images.train_pipeline
    cfg.train_dataloader.collate_fn = dict(type='default_collate')
    cfg.train_dataloader.dataset = dict(type='ltmm.RandomImages', pipeline=pipeline)
    return cfg


def compare() -> Iterator[Pair]:
    for name, (config, width) in BACKBONES.items():
        with tempfile.TemporaryDirectory() as folder:
            features = iterations(on_features(width, Path(folder)))
            images = iterations(through_backbone(config, width), frozen='backbone')
            yield Pair(name, partial(next, features), partial(next, images), max_ratio=0.02)
