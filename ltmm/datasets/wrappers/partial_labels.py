"""Partial labels: a multi-label dataset some of whose labels were never given."""

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init

from ltmm.datasets.labels.label_states import NEGATIVE, POSITIVE, UNKNOWN, states_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS

__all__ = ['PartialLabels', 'hidden_negatives', 'hidden_positives']

UNKNOWN_AS = {'negative': NEGATIVE, 'unknown': UNKNOWN}


def hidden_positives(states: np.ndarray, missing_rate: float, keep_one: bool, seed: int) -> np.ndarray:
    """Which positive labels go missing: each with the same probability, independently; boolean, (N, C).

    What goes missing at one rate goes missing at every higher rate of the same seed, too.

    Args:
        states: 1 positive, 0 negative, -1 unknown, (N, C).
        missing_rate: the probability.
        keep_one: give a sample that would lose all of its positive labels one of them back, each as likely.
        seed: of the choice.
    """
    samples, classes = np.nonzero(states == POSITIVE)  # (P,), (P,)
    draw = np.random.default_rng((seed, 0)).random(len(samples))
    is_missing = draw < missing_rate
    if keep_one:  # the one with the largest draw, which is the last to go
        best = np.zeros(len(states))
        np.maximum.at(best, samples, draw)
        is_missing &= draw < best[samples]
    hidden = np.zeros(states.shape, dtype=bool)
    hidden[samples, classes] = is_missing
    return hidden


def hidden_negatives(states: np.ndarray, missing_rate: float, seed: int) -> np.ndarray:
    """Which negative labels go missing: each with the same probability, independently; boolean, (N, C).

    Args:
        states: 1 positive, 0 negative, -1 unknown, (N, C).
        missing_rate: the probability.
        seed: of the choice.
    """
    draw = np.random.default_rng((seed, 1)).random(states.shape, dtype=np.float32)
    return (states == NEGATIVE) & (draw < missing_rate)


@DATASETS.register_module()
class PartialLabels:
    """Takes labels away from multi-label training data, the same ones on every rank and in every run.

    Every positive label goes missing with probability ``missing_rate``; by default each image keeps one, so that images
    with a single label keep it and less than that share is missing in all. As a negative, a missing label misleads the
    loss, as in images where the annotators overlooked things; as unknown, it is -1 in ``gt_score``, for losses that
    know what that means. Labels that were unknown before stay so.

    The class counts are those of the labels that are left. Nothing that comes out of the wrapper holds the others:
    samples and records have ``gt_score`` alone, no ``gt_label``.

    ==============================================  ============================================================
    protocol                                        options
    ==============================================  ============================================================
    missing labels look negative (COMIC, 40 %)      ``missing_rate=0.4``
    missing positives are known to be missing       ``missing_rate=0.4, unknown_as='unknown'``; mind that every
                                                    unknown label is then a positive one
    a tenth of all labels is annotated              ``missing_rate=0.9, negative_missing_rate=0.9,
                                                    unknown_as='unknown', keep_one=False``
    one positive an image, nothing else is known    ``missing_rate=1, negative_missing_rate=1, unknown_as='unknown'``
    ==============================================  ============================================================

    The missing rate is that of Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with
    Long-Tailed Distribution and Partial Labels, ICCV 2023, arXiv 2304.10539, whose own generator is not published.

    Args:
        dataset: multi-label data, or their config: anything whose records hold ``gt_score`` or ``gt_label``, through
            any wrappers that do not repeat.
        missing_rate: in [0, 1].
        unknown_as: ``'negative'`` or ``'unknown'``, what a missing label becomes.
        keep_one: leave every image that has a positive label one.
        negative_missing_rate: probability in [0, 1] that a negative label becomes unknown.
        seed: of the choice.
        lazy_init: leave reading and choosing to the first use.

    Raises:
        ValueError: a rate outside [0, 1], a seed that is no whole number of at least 0, an unknown ``unknown_as``,
            ``negative_missing_rate`` with missing labels as negatives, labels other than 1, 0 and -1, or a dataset that
            repeats samples, which would miss other labels each time.
        TypeError: no multi-label data: records without ``gt_score`` or ``gt_label``, or with a class for ``gt_label``.
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
        for name, rate in (('missing_rate', missing_rate), ('negative_missing_rate', negative_missing_rate)):
            if not isinstance(rate, Real) or not 0 <= rate <= 1:
                raise ValueError(f'Expected `{name}` to be in [0, 1], but got {rate!r}.')
        if not isinstance(seed, Integral) or seed < 0:
            raise ValueError(f'Expected `seed` to be a whole number of at least 0, but got {seed!r}.')
        if unknown_as not in UNKNOWN_AS:
            raise ValueError(f'Expected `unknown_as` to be one of {sorted(UNKNOWN_AS)}, but got {unknown_as!r}.')
        if negative_missing_rate and unknown_as == 'negative':
            raise ValueError(
                f"Expected `negative_missing_rate` to go with unknown_as='unknown', but got {negative_missing_rate} "
                "with 'negative', which would change nothing."
            )
        self.missing_rate, self.unknown_as, self.keep_one = missing_rate, unknown_as, keep_one
        self.negative_missing_rate, self.seed = negative_missing_rate, seed
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the labels and choose those that go missing."""
        if self._fully_initialized:
            return
        table = LabelTable.from_dataset(self.dataset, unrepeated=True)
        if len(table) != len(self.dataset):
            raise ValueError(
                f'PartialLabels: expected each sample once, but {type(self.dataset).__name__} has {len(table)} samples '
                f'{len(self.dataset)} times in all. Put it around PartialLabels, not inside.'
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
        """The labels that are left: 1 positive, 0 negative, -1 unknown, int8, (N, C)."""
        return self._states

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """The positive labels that are left."""
        return self._table

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Positive labels that are left to sample ``idx``."""
        return np.flatnonzero(self._states[idx] == POSITIVE).tolist()

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Record of sample ``idx``, with ``gt_score`` in place of any other label."""
        return self._relabelled(self.dataset.get_data_info(idx), idx)

    @force_full_init
    def __getitem__(self, idx: int) -> dict:
        return self._relabelled(self.dataset[idx], idx)

    @force_full_init
    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        return [self[idx] for idx in indices]

    @force_full_init
    def __len__(self) -> int:
        return len(self._states)

    def _relabelled(self, sample: dict, idx: int) -> dict:
        """A record, or what a pipeline made of it, with the labels that are left."""
        score = self._states[idx].astype(np.float32)
        if 'data_samples' not in sample:
            return {**{key: value for key, value in sample.items() if not key.startswith('gt_')}, 'gt_score': score}
        data_sample = sample['data_samples']
        for key in [key for key in data_sample.keys() if key.startswith('gt_')]:
            delattr(data_sample, key)
        data_sample.set_gt_score(score)
        return sample
