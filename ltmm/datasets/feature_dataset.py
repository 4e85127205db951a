"""Datasets of image features that a frozen backbone has extracted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import force_full_init
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS, FUNCTIONS
from ltmm.utils.data_files import read_array, read_json
from ltmm.utils.errors import InputError

from .files import find_folder

__all__ = ['FeatureDataset', 'collate_features', 'feature_files']


def feature_files(folder: Path, split: str) -> dict[str, Path]:
    """Return the files of a split: ``features`` (N, D), ``labels`` (N,), ``info`` (classes, origin of the features)."""
    suffixes = dict(features='features.npy', labels='labels.npy', info='info.json')
    return {name: folder / f'{split}_{suffix}' for name, suffix in suffixes.items()}


@DATASETS.register_module()
class FeatureDataset:
    """Features and labels written by ``tools/extract_features.py``, to train a classifier in seconds.

    A whole batch is read at once; use it with the collate function ``'ltmm.collate_features'``. In training, one data
    sample holds all labels of a batch, which is all that mmpretrain's heads need; in test mode every feature has its
    own data sample.

    Args:
        data_root: Folder of the files, or its name under ``$LTMM_DATA_ROOT`` or ``data/``.
        split: Split in the names of the files, ``'train'`` or ``'test'``.
        test_mode: Give every feature its own data sample.
        in_memory: Load all features at once instead of reading each batch from disk.
        lazy_init: Load on first use.
    """

    def __init__(
        self, data_root: str, split: str, test_mode: bool = False, in_memory: bool = True, lazy_init: bool = False
    ) -> None:
        self.data_root = data_root if Path(data_root).is_dir() else str(find_folder([data_root]))
        self.split, self.test_mode, self.in_memory = split, test_mode, in_memory
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the files."""
        if self._fully_initialized:
            return
        self._load()
        self._labels = torch.from_numpy(self._table.labels)
        self._fully_initialized = True

    def _load(self) -> None:
        """Set ``info``, with the class names, the labels, and the features or what :meth:`_read` reads."""
        files = feature_files(Path(self.data_root), self.split)
        for path in files.values():
            if not path.is_file():
                raise FileNotFoundError(
                    f'{path} does not exist. Run python tools/extract_features.py CONFIG [CHECKPOINT] --out '
                    f'{self.data_root}'
                )
        self.info = read_json(files['info'])
        classes = self.info.get('classes') if isinstance(self.info, dict) else None
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise InputError(f'Expected {files["info"]} to be a dictionary with a list of names as `classes`.')
        remedy = 'Run python tools/extract_features.py again.'
        features = read_array(files['features'], None if self.in_memory else 'r', remedy)
        labels = read_array(files['labels'], remedy=remedy)
        if features.ndim != 2 or labels.shape != features.shape[:1] or features.dtype.kind not in 'fiu':
            raise InputError(
                f'Expected {files["features"]} to hold numbers of shape (N, D) and {files["labels"]} N labels, but got '
                f'{features.dtype} {features.shape} and {labels.shape}.'
            )
        invalid = np.flatnonzero(~np.isfinite(features).all(axis=1)) if self.in_memory else ()
        if len(invalid):
            raise InputError(f'{files["features"]}: {len(invalid)} rows are not finite, row {invalid[0]} first.')
        self._table = self._label_table(labels, classes, files['labels'])
        self._features = torch.from_numpy(features) if self.in_memory else features

    @staticmethod
    def _label_table(labels: np.ndarray, classes: Sequence[str], path: Path) -> LabelTable:
        try:
            return LabelTable.from_labels(labels, len(classes), tuple(classes))
        except InputError as e:
            raise InputError(f'{path}: {e}') from None

    def _read(self, indices: Sequence[int]) -> Tensor:
        """Return the features of samples, (B, D)."""
        rows = torch.as_tensor(indices)
        return self._features[rows] if self.in_memory else torch.from_numpy(self._features[rows.numpy()])

    @property
    @force_full_init
    def metainfo(self) -> dict:
        """Class names."""
        return dict(classes=tuple(self.info['classes']))

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """Return the labels of all samples."""
        return self._table

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return the labels of all samples, (N,)."""
        return self._table.labels

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of sample ``idx`` in a list."""
        return [int(self._table.labels[idx])]

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx``."""
        return dict(gt_label=int(self._table.labels[idx]), sample_idx=idx)

    @force_full_init
    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        return self.__getitems__([idx])

    @force_full_init
    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return a batch: ``inputs`` (B, D) and ``data_samples``, B in test mode, one in training."""
        features, labels = self._read(indices), self._labels[torch.as_tensor(indices)]
        if self.test_mode:
            samples = [_sample([i], label) for i, label in zip(indices, labels.split(1))]
        else:
            samples = [_sample(list(indices), labels)]
        return dict(inputs=features.float(), data_samples=samples)


@FUNCTIONS.register_module()
def collate_features(batch: dict | Sequence[dict]) -> dict[str, Any]:
    """Collate a batch of :class:`FeatureDataset`.

    Args:
        batch: A whole batch, or a list of batches from a wrapper that reads sample by sample.
    """
    if isinstance(batch, dict):
        return batch
    samples = [sample for part in batch for sample in part['data_samples']]
    return dict(inputs=torch.cat([part['inputs'] for part in batch]), data_samples=samples)


def _sample(indices: list[int], labels: Tensor) -> DataSample:
    """Return a data sample with one or several labels."""
    sample = DataSample().set_gt_label(labels)
    sample.set_field(indices if len(indices) > 1 else indices[0], 'sample_idx', field_type='metainfo')
    return sample
