"""Noisy labels: a training set of which some labels are wrong."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.logging import print_log

from ltmm.datasets.images import base_datasets
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checkpoints import read_checkpoint
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_array
from ltmm.utils.errors import InputError

__all__ = ['NoisyLabels', 'noise_targets', 'noisy_labels']

KINDS = ('flip', 'frequency', 'pair', 'symmetric')


def noise_targets(label: np.ndarray, num_classes: int, kind: str, seed: int) -> np.ndarray:
    """Draw the class that each sample would get if its label were wrong, (N,); see :class:`NoisyLabels`.

    Args:
        label: True classes, (N,).
        num_classes: C.
        kind: ``'symmetric'``, ``'pair'``, ``'flip'`` or ``'frequency'``.
        seed: Seed of the draw.
    """
    generator = np.random.default_rng((seed, 1))
    if kind == 'symmetric':
        return generator.integers(num_classes, size=len(label))
    if kind == 'pair':
        return (label + 1) % num_classes
    if kind == 'flip':
        return ((np.arange(num_classes) + generator.integers(1, num_classes, num_classes)) % num_classes)[label]
    counts = np.bincount(label, minlength=num_classes)  # (C,)
    ends = np.cumsum(counts)  # a random sample of another class, samples sorted by class, gives its class
    start = (ends - counts)[label]  # (N,)
    position = generator.integers(len(label) - counts[label])
    position += np.where(position < start, 0, counts[label])
    return np.searchsorted(ends, position, side='right')


def noisy_labels(label: np.ndarray, num_classes: int, rate: float, kind: str, seed: int) -> np.ndarray:
    """Draw noisy labels, (N,); what is wrong at one rate is as wrong at every higher rate of the same seed.

    Args:
        label: True classes, (N,).
        num_classes: C.
        rate: Probability to draw the label anew, in [0, 1).
        kind: See :class:`NoisyLabels`.
        seed: Seed of the draw.
    """
    is_redrawn = np.random.default_rng((seed, 0)).random(len(label)) < rate  # (N,)
    return np.where(is_redrawn, noise_targets(label, num_classes, kind, seed), label)


@DATASETS.register_module()
class NoisyLabels:
    r"""Gives training samples wrong labels, the same ones on every rank and in every run.

    Around :class:`LongTailed`, the noise is drawn after the tail is cut, so that rare classes are rare and receive the
    labels of frequent ones. With n_j samples of class j, n of all, and rate r, class i becomes class j with probability

    ===============  =================================================================================
    ``kind``         probability of j
    ===============  =================================================================================
    ``'symmetric'``  r / C, the own class too: a share of r (C - 1) / C is wrong [0]
    ``'pair'``       r for the next class, (i + 1) mod C
    ``'flip'``       r for one other class, drawn once for each i (asymmetric noise of [0])
    ``'frequency'``  r n_j / (n - n_i) for j other than i: wrong labels are mostly those of frequent classes [1]
    ===============  =================================================================================

    ``file`` gives labels by humans in place of these, for example those of CIFAR-N [2].

    Samples, records and class counts have the noisy labels only, also in the transforms of the pipeline; no loss can
    see a true one. Reports read them by :attr:`true_labels`, whose rows are the ``sample_idx`` of the samples: their
    indices in this dataset.

    References:
        [0] Lu et al., Label-Noise Learning with Intrinsically Long-Tailed Data, ICCV 2023, arXiv 2208.09833;
            github.com/Wakings/TABASCO @712992b. Its random numbers are others.
        [1] Zhang et al., When Noisy Labels Meet Long Tail Dilemmas: A Representation Calibration Method, ICCV 2023,
            arXiv 2211.10955.
        [2] Wei et al., Learning with Noisy Labels Revisited: A Study Using Real-World Human Annotations, ICLR 2022,
            arXiv 2110.12088; github.com/UCSC-REAL/cifar-10-100n.

    Args:
        dataset: Data with one label per image, or their config. Wrappers that repeat samples belong around this one.
        rate: Probability r to draw a label anew, in [0, 1). Not with ``file``.
        kind: See above. Not with ``file``.
        file: Labels of all images of the innermost dataset, in its order: a .pt file of a dictionary of arrays, such as
            ``CIFAR-100_human.pt``, or a .npy file of one array. Code in it is not run. If the dictionary has
            ``clean_label``, it is compared with the labels of the images.
        key: Entry of the dictionary, for example ``'worse_label'`` in ``CIFAR-10_human.pt``.
            Default: ``'noisy_label'``.
        seed: Seed of the draw, 0 by default. Not with ``file``.
        lazy_init: Load and draw on first use.
    """

    def __init__(
        self,
        dataset: Any,
        rate: float | None = None,
        kind: str | None = None,
        file: str | None = None,
        key: str | None = None,
        seed: int | None = None,
        lazy_init: bool = False,
    ) -> None:
        if (file and (rate, kind, seed) != (None, None, None)) or (key and not file):
            raise InputError(
                'Expected either `file`, perhaps with `key`, or `rate` and `kind`, perhaps with `seed`, but got '
                f'{file=}, {key=}, {rate=}, {kind=} and {seed=}.'
            )
        self.rate, self.kind, self.seed = rate, kind, 0 if seed is None else seed
        self.file, self.key = file, key or 'noisy_label'
        if not file:
            check(rate=(self.rate, 'in [0, 1)'), kind=(self.kind, KINDS), seed=(self.seed, 'int >= 0'))
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the labels and draw the noisy ones."""
        if self._fully_initialized:
            return
        table = LabelTable.from_dataset(self.dataset, unrepeated=True)
        inner = type(self.dataset).__name__
        if len(table) != len(self.dataset):
            raise InputError(
                f'NoisyLabels: {inner} repeats {len(table)} samples to {len(self.dataset)}. Put it around NoisyLabels '
                'instead.'
            )
        if not table.is_single_label:
            raise InputError(
                f'NoisyLabels needs one label per image, but {inner} has {len(table.labels)} labels on {len(table)} '
                'images.'
            )
        self._base, *others = base_datasets(self.dataset)
        if others or not hasattr(self._base, 'pipeline'):
            raise InputError(
                f'NoisyLabels: {inner} has no single pipeline. Put NoisyLabels around a dataset of mmpretrain or ltmm, '
                'and ConcatDataset around NoisyLabels.'
            )
        self._true = table.labels
        labels = self._human_labels(table) if self.file else self._drawn_labels(table)
        self._table = LabelTable.from_labels(labels, table.num_classes, table.class_names)
        self._fully_initialized = True
        source = self.file or f'kind={self.kind!r}, rate={self.rate}'
        print_log(f'NoisyLabels: {self.noise_rate:.1%} of {len(self)} labels are wrong ({source}).', 'current')

    @property
    def metainfo(self) -> dict:
        """Meta information of the inner dataset."""
        return copy.deepcopy(self.dataset.metainfo)

    @property
    @force_full_init
    def true_labels(self) -> np.ndarray:
        """Copy of the true labels, for reports, (N,)."""
        return self._true.copy()

    @property
    @force_full_init
    def noise_rate(self) -> float:
        """Share of the labels that are wrong."""
        return float((self._table.labels != self._true).mean())

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """Return the noisy labels."""
        return self._table

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return the noisy labels, (N,)."""
        return self._table.labels

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the noisy label of sample ``idx``."""
        return [int(self._table.labels[idx])]

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx`` with the noisy label; its ``sample_idx`` is ``idx``."""
        record = self.dataset.get_data_info(idx)
        record = {key: value for key, value in record.items() if not key.startswith('gt_')}
        return {**record, 'gt_label': int(self._table.labels[idx]), 'sample_idx': idx}

    @force_full_init
    def __getitem__(self, idx: int) -> dict:
        return self._base.pipeline(self.get_data_info(int(idx)))

    @force_full_init
    def __len__(self) -> int:
        return len(self._table)

    def _drawn_labels(self, table: LabelTable) -> np.ndarray:
        if self.kind != 'symmetric' and len(np.unique(table.labels)) < 2:
            raise InputError(f'NoisyLabels: kind={self.kind!r} needs samples of at least two classes.')
        return noisy_labels(table.labels, table.num_classes, self.rate, self.kind, self.seed)

    def _human_labels(self, table: LabelTable) -> np.ndarray:
        """Read the labels of the file for the samples that are in the inner dataset."""
        labels, clean = self._read_file()
        records = [self.dataset.get_data_info(i) for i in range(len(table))]
        row = np.array([record['sample_idx'] for record in records])  # (N,), in the innermost dataset
        for name, values in ((self.key, labels), ('clean_label', clean)):
            if values is not None and values.shape != (len(self._base),):
                raise InputError(
                    f'Expected {name!r} in {self.file} to have the shape ({len(self._base)},), one label per image of '
                    f'{type(self._base).__name__}, but got {values.shape}.'
                )
        if clean is not None and (differs := clean[row] != table.labels).any():
            first = int(np.flatnonzero(differs)[0])
            raise InputError(
                f'{self.file} is in another order than {type(self._base).__name__}: its clean label of image '
                f'{row[first]} is {clean[row[first]]}, but the image has {table.labels[first]}.'
            )
        unknown = ~np.isin(labels[row], np.arange(table.num_classes))
        if unknown.any():
            raise InputError(
                f'Expected labels in [0, {table.num_classes}) in {self.file}, but got {labels[row][unknown][0]} for '
                f'image {row[unknown][0]}.'
            )
        return labels[row]

    def _read_file(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return noisy and, if the file has them, clean labels."""
        if not Path(self.file).is_file():
            raise FileNotFoundError(
                f'{self.file} does not exist. Those of CIFAR-N are at github.com/UCSC-REAL/cifar-10-100n, folder data.'
            )
        if Path(self.file).suffix == '.npy':
            return read_array(self.file, remedy='Those of CIFAR-N are in another order too: use its .pt file.'), None
        content = read_checkpoint(self.file)
        arrays = {key: np.asarray(value) for key, value in content.items() if np.ndim(value) == 1}
        if self.key not in arrays:
            raise InputError(f'Expected `key` to be one of {sorted(arrays)} in {self.file}, but got {self.key!r}.')
        return arrays[self.key], arrays.get('clean_label')
