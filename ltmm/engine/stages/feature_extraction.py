"""Write the features of a dataset to disk, for training classifiers on them."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import barrier, get_dist_info, is_main_process
from torch import nn
from torch.utils.data import DataLoader

from ltmm.datasets.feature_dataset import feature_files
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.engine.post_process.validation_data import same_images
from ltmm.engine.runner.model_outputs import build_test_loader, build_test_runner, model_outputs
from ltmm.registry import STAGES
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.pretrained import random_parameters, refuse_unmatched_pretrained
from ltmm.utils.wrappers import unwrap_model

from .base import Stage

__all__ = ['FeatureExtractionStage', 'extract_features', 'extract_splits', 'splits_of']

SPLITS = ('train', 'val', 'test')


@STAGES.register_module()
@dataclass(kw_only=True)
class FeatureExtractionStage(Stage):
    """Write the features of the last checkpoint, which :class:`ltmm.datasets.FeatureDataset` reads.

    The result is their folder. Without a checkpoint the weights are those of the config's ``init_cfg``.

    Args:
        splits: ``'train'``, ``'val'`` and ``'test'``. Default: all of the config, ``'val'`` only if it is not the test
            set.
        allow_random: Extract features of random weights too.
    """

    splits: Sequence[str] | None = None
    allow_random: bool = False

    @property
    def result(self) -> Path:
        return self.folder / 'features'

    @property
    def is_complete(self) -> bool:
        return all(feature_files(self.result, split)['info'].is_file() for split in splits_of(self.cfg, self.splits))

    def next_checkpoint(self, previous: Path | None) -> Path | None:
        return previous

    def run(self, previous: Path | None) -> None:
        self.log(f'extracts the features of {previous or "init_cfg"}')
        extract_splits(self.cfg, previous, self.result, self.splits, self.allow_random)


def splits_of(cfg: Config, splits: Sequence[str] | None = None) -> dict[str, dict]:
    """Return the datasets to extract by split, see :class:`FeatureExtractionStage`."""
    datasets = {split: cfg[f'{split}_dataloader'].dataset for split in SPLITS if cfg.get(f'{split}_dataloader')}
    if splits is None and 'val' in datasets and same_images(datasets['val'], datasets['test']):
        del datasets['val']
    for split in splits or ():
        check(splits=(split, datasets))
    return {split: datasets[split] for split in splits or datasets}


def extract_splits(
    cfg: Config,
    checkpoint: Path | str | None,
    folder: Path,
    splits: Sequence[str] | None = None,
    allow_random: bool = False,
) -> None:
    """Write the features of all splits.

    Args:
        cfg: Config of a classifier.
        checkpoint: Its checkpoint; None takes the weights of ``init_cfg``.
        folder: Where to write.
        splits: See :class:`FeatureExtractionStage`.
        allow_random: See :class:`FeatureExtractionStage`.
    """
    datasets = splits_of(cfg, splits)
    runner = build_test_runner(cfg)
    origin = str(checkpoint or 'init_cfg')
    if checkpoint:
        runner.load_checkpoint(str(checkpoint))
    else:
        model = unwrap_model(runner.model)
        random = [name for name in random_parameters(model) if not name.startswith('head.')]
        if random and not allow_random:
            raise InputError(
                f'Without a checkpoint, {len(random)} parameters of the features would be random, {random[0]} first. '
                "Give a checkpoint, or init_cfg=dict(type='Pretrained', ...) in the config; --allow-random takes them."
            )
        origin = 'random weights' if random else origin
        refuse_unmatched_pretrained(model)
        runner._init_model_weights()
    for split, dataset in datasets.items():
        loader = build_test_loader(cfg, dataset)
        runner.logger.info(f'{split}: {len(loader.dataset)} images')
        source = dict(config=cfg.filename, checkpoint=origin)
        info = extract_features(unwrap_model(runner.model), loader, folder, split, source)
        if is_main_process():
            print(f'{folder}: {split}, {info["num_samples"]} x {info["width"]}, {len(info["classes"])} classes')


def extract_features(
    model: nn.Module, loader: DataLoader, folder: Path, split: str, source: dict[str, Any]
) -> dict[str, Any]:
    """Write features (float32) and labels of all samples as ``.npy`` files and their description as ``.json``.

    The files get their names once all is written. With several ranks each writes its samples into the one file, which
    needs a disk that all ranks share.

    Args:
        model: Classifier.
        loader: See :func:`ltmm.engine.runner.model_outputs.build_test_loader`.
        folder: Where to write.
        split: First part of the file names.
        source: Origin of the features, for the ``.json``.

    Returns:
        Content of the ``.json``.
    """
    rank, num_ranks = get_dist_info()
    table = LabelTable.from_dataset(loader.dataset)
    if not table.is_single_label:
        raise InputError(f'Expected one label per sample in {split}, but got {len(table.labels)} on {len(table)}.')
    folder.mkdir(parents=True, exist_ok=True)
    files = feature_files(folder, split)
    unfinished = files['features'].with_suffix('.npy.part')
    features, row = None, rank
    try:
        for batch in model_outputs(model, loader, with_logits=False, tries_head=True):
            if features is None:
                features = _open(unfinished, (len(table), batch.features.size(1)), rank)
            features[row : row + num_ranks * len(batch.label) : num_ranks] = batch.features.numpy()
            row += num_ranks * len(batch.label)
        features.flush()
        barrier()
        width = features.shape[1]
        del features
        info = dict(
            classes=table.class_names or [str(c) for c in range(table.num_classes)],
            num_samples=len(table),
            width=width,
            class_distribution=table.class_distribution().to_dict(),
            **source,
        )
        if rank == 0:
            files['info'].unlink(missing_ok=True)
            np.save(files['labels'], table.labels)
            os.replace(unfinished, files['features'])
            AtomicLocalBackend().put_text(json.dumps(info), files['info'])
    finally:
        if rank == 0:
            unfinished.unlink(missing_ok=True)
    barrier()
    return info


def _open(path: Path, shape: tuple[int, int], rank: int) -> np.memmap:
    """Open the array file that all ranks write into."""
    if rank == 0:
        needed, free = 4 * shape[0] * shape[1], shutil.disk_usage(path.parent).free
        if free < needed:
            raise OSError(f'Features need {needed / 2**30:.1f} GiB, {path.parent} has {free / 2**30:.1f} GiB left.')
        np.lib.format.open_memmap(path, mode='w+', dtype=np.float32, shape=shape).flush()
    barrier()
    return np.load(path, mmap_mode='r+')
