"""Partial labels: a multi-label dataset with missing labels."""

import copy
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init

from ltmm.datasets.labels.label_states import NEGATIVE, POSITIVE, UNKNOWN, states_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['PartialLabels', 'hidden_negatives', 'hidden_positives']

UNKNOWN_AS = {'negative': NEGATIVE, 'unknown': UNKNOWN}


def hidden_positives(states: np.ndarray, missing_rate: float, keep_one: bool, seed: int) -> np.ndarray:
    """Draw the positive labels to hide, each with probability ``missing_rate``; boolean, (N, C).

    A label that is hidden at one rate is hidden at every higher rate of the same seed. With ``keep_one``, a sample that
    would lose all positive labels keeps a random one.
    """
    samples, classes = np.nonzero(states == POSITIVE)  # (P,), (P,)
    draw = np.random.default_rng((seed, 0)).random(len(samples))
    is_missing = draw < missing_rate
    if keep_one:  # the label with the largest draw, which is hidden last
        best = np.zeros(len(states))
        np.maximum.at(best, samples, draw)
        is_missing &= draw < best[samples]
    hidden = np.zeros(states.shape, dtype=bool)
    hidden[samples, classes] = is_missing
    return hidden


def hidden_negatives(states: np.ndarray, missing_rate: float, seed: int) -> np.ndarray:
    """Draw the negative labels to hide, each with probability ``missing_rate``; boolean, (N, C)."""
    draw = np.random.default_rng((seed, 1)).random(states.shape, dtype=np.float32)
    return (states == NEGATIVE) & (draw < missing_rate)


@DATASETS.register_module()
class PartialLabels:
    """Hides labels of multi-label training data, the same ones on every rank and in every run.

    Every positive label is hidden with probability ``missing_rate``. A hidden label becomes a (false) negative, as in
    images that were annotated incompletely, or unknown (-1 in ``gt_score``). Class counts are those of the remaining
    labels. Samples and records hold ``gt_score`` only, no ``gt_label``.

    ===========================================  ============================================================
    protocol                                     options
    ===========================================  ============================================================
    missing labels are negative (COMIC, 40 %)    ``missing_rate=0.4``
    missing positives are unknown                ``missing_rate=0.4, unknown_as='unknown'``; then every unknown
                                                 label is a positive one
    a tenth of all labels is annotated           ``missing_rate=0.9, negative_missing_rate=0.9,
                                                 unknown_as='unknown', keep_one=False``
    one positive per image, all else is unknown  ``missing_rate=1, negative_missing_rate=1, unknown_as='unknown'``
    ===========================================  ============================================================

    The missing rate is defined as in Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with
    Long-Tailed Distribution and Partial Labels, ICCV 2023, arXiv 2304.10539, whose generator is not published.

    Args:
        dataset: Multi-label data, or their config; the records hold ``gt_score`` or ``gt_label``. Wrappers that repeat
            samples belong around this one.
        missing_rate: Probability to hide a positive label.
        unknown_as: ``'negative'`` or ``'unknown'``, the state of a hidden label.
        keep_one: Keep at least one positive label of every image that has any.
        negative_missing_rate: Probability to hide a negative label; needs ``unknown_as='unknown'``.
        seed: Seed of the draw.
        lazy_init: Load and draw on first use.
    """

    def __init__(
        self,
        dataset: Any,
        missing_rate: float,
        unknown_as: str = 'negative',
        keep_one: bool = True,
        negative_missing_rate: float = 0.0,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        check(
            missing_rate=(missing_rate, 'in [0, 1]'),
            negative_missing_rate=(negative_missing_rate, 'in [0, 1]'),
            seed=(seed, 'int >= 0'),
            unknown_as=(unknown_as, UNKNOWN_AS),
        )
        if negative_missing_rate and unknown_as == 'negative':
            raise InputError(f"`negative_missing_rate` needs unknown_as='unknown', but got {unknown_as=}.")
        self.missing_rate, self.unknown_as, self.keep_one = missing_rate, unknown_as, keep_one
        self.negative_missing_rate, self.seed = negative_missing_rate, seed
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the labels and draw those to hide."""
        if self._fully_initialized:
            return
        table = LabelTable.from_dataset(self.dataset, unrepeated=True)
        if len(table) != len(self.dataset):
            raise InputError(
                f'PartialLabels: {type(self.dataset).__name__} repeats {len(table)} samples to {len(self.dataset)}. '
                'Put it around PartialLabels instead.'
            )
        records = map(self.dataset.get_data_info, range(len(table)))
        states = np.stack([states_of(record, table.num_classes) for record in records])  # (N, C)
        hidden = hidden_positives(states, self.missing_rate, self.keep_one, self.seed)
        hidden |= hidden_negatives(states, self.negative_missing_rate, self.seed)
        self._states = np.where(hidden, np.int8(UNKNOWN_AS[self.unknown_as]), states)
        samples, classes = np.nonzero(self._states == POSITIVE)
        offsets = np.searchsorted(samples, np.arange(len(states) + 1))
        unknown = (self._states == UNKNOWN).any(axis=1)
        self._table = LabelTable(classes, offsets, table.num_classes, table.class_names, True, unknown)
        self._fully_initialized = True

    @property
    def metainfo(self) -> dict:
        """Meta information of the inner dataset."""
        return copy.deepcopy(self.dataset.metainfo)

    @property
    @force_full_init
    def states(self) -> np.ndarray:
        """Remaining labels: 1 positive, 0 negative, -1 unknown, int8, (N, C)."""
        return self._states

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """Return the remaining positive labels."""
        return self._table

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the remaining positive labels of sample ``idx``."""
        return np.flatnonzero(self._states[idx] == POSITIVE).tolist()

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx`` with ``gt_score`` as its only label."""
        return self._relabel(self.dataset.get_data_info(idx), idx)

    @force_full_init
    def __getitem__(self, idx: int) -> dict:
        return self._relabel(self.dataset[idx], idx)

    @force_full_init
    def __len__(self) -> int:
        return len(self._states)

    def _relabel(self, sample: dict, idx: int) -> dict:
        """Replace the labels of a record, or of a sample after the pipeline."""
        score = self._states[idx].astype(np.float32)
        if 'data_samples' not in sample:
            return {**{key: value for key, value in sample.items() if not key.startswith('gt_')}, 'gt_score': score}
        data_sample = sample['data_samples']
        for key in [key for key in data_sample.keys() if key.startswith('gt_')]:
            delattr(data_sample, key)
        data_sample.set_gt_score(score)
        return sample
