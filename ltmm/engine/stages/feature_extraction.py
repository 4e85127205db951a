"""Write the features of a dataset to disk, for training classifiers on them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, get_dist_info
from torch import nn
from torch.utils.data import DataLoader

from ltmm.datasets.feature_dataset import feature_files
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.engine.runner.model_outputs import model_outputs

__all__ = ['extract_features']


def extract_features(
    model: nn.Module, loader: DataLoader, folder: Path, split: str, source: dict[str, Any]
) -> dict[str, Any]:
    """Write the features (float32) and labels of all samples as ``.npy`` files and what they are as ``.json``.

    The files of a split get their names only when all is written. With several processes each writes its own samples
    into the one file, which needs a disk that all of them see.

    Args:
        model: a classifier of mmpretrain.
        loader: see :func:`ltmm.engine.runner.model_outputs.loader_as_tested`.
        folder: where to write; made if need be.
        split: first part of the names of the files.
        source: where the features come from, for the ``.json``.

    Returns:
        What stands in the ``.json``.

    Raises:
        OSError: the folder cannot be written, or has too little space.
        TypeError: a dataset that does not name its classes.
        ValueError: samples without exactly one label.
    """
    rank, num_ranks = get_dist_info()
    table = LabelTable.from_dataset(loader.dataset)
    if not table.is_single_label:
        raise ValueError(
            f'Expected one label a sample, but the {split} split has {len(table.labels)} labels on {len(table)} '
            'samples.'
        )
    folder.mkdir(parents=True, exist_ok=True)
    files = feature_files(folder, split)
    unfinished = files['features'].with_suffix('.npy.part')
    features, row = None, rank
    try:
        for batch in model_outputs(model, loader, with_scores=False):
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
            files['info'].write_text(json.dumps(info), encoding='utf-8')
    finally:
        if rank == 0:
            unfinished.unlink(missing_ok=True)
    barrier()
    return info


def _open(path: Path, shape: tuple[int, int], rank: int) -> np.memmap:
    """The one array file all processes write into."""
    if rank == 0:
        needed, free = 4 * shape[0] * shape[1], shutil.disk_usage(path.parent).free
        if free < needed:
            raise OSError(
                f'Features of {shape[0]} samples take {needed / 2**30:.1f} GiB, but {path.parent} has only '
                f'{free / 2**30:.1f} GiB left.'
            )
        np.lib.format.open_memmap(path, mode='w+', dtype=np.float32, shape=shape).flush()
    barrier()
    return np.load(path, mmap_mode='r+')
