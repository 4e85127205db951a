"""Base class for metrics with many-, medium- and few-shot groups."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.datasets.labels import class_distribution_of
from ltmm.evaluation.functional import check_convention, shots_by_convention
from ltmm.evaluation.non_empty import NonEmptyTestSet
from ltmm.utils.class_counts import is_by_name, read_counts
from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots

__all__ = ['ShotMetric', 'name_of', 'untested_classes']

SHOWN = 5  # classes in a message


class ShotMetric(NonEmptyTestSet, BaseMetric):
    """Base class for metrics with many-, medium- and few-shot groups.

    :class:`ltmm.engine.ClassDistributionHook` passes the class distribution of the training data.

    Args:
        convention: Grouping of the classes, see :func:`ltmm.evaluation.shots_by_convention`.
        thresholds: Other limits than (100, 20) images: ``(many, few)``, ``dict(quantile=(2/3, 1/3))``,
            ``dict(rank=(many, few))`` or ``'auto'``, see :func:`ltmm.utils.shots.group_classes`.
        num_many: Number of many-shot classes for ``'mislas'``.
        num_few: Number of few-shot classes for ``'mislas'``.
        class_counts: Training images per class, as :meth:`ltmm.ClassDistribution.build` takes them, or the config of a
            dataset to count. Default: the counts of the training data.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the names of the figures.
    """

    def __init__(
        self,
        convention: str = 'decoupling',
        thresholds: Sequence[int] | dict | str | None = None,
        num_many: int | None = None,
        num_few: int | None = None,
        class_counts: Sequence[int] | dict | str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_convention(convention, thresholds, num_many, num_few)
        self.grouping = dict(convention=convention, thresholds=thresholds, num_many=num_many, num_few=num_few)
        if isinstance(class_counts, Mapping) and isinstance(class_counts.get('type'), str):
            class_counts = class_distribution_of(class_counts)
        counts = read_counts(class_counts)
        self._given = None if counts is None else ClassDistribution.build(counts)
        self._given_by_name = is_by_name(counts)
        self._trained: ClassDistribution | None = None
        self.distribution: ClassDistribution | None = None
        self.shots: Shots | None = None
        self._update()

    # ------------------------------------------------------------------ class distribution

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Set the class names of the test set."""
        self._dataset_meta = dataset_meta
        self._update()

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Set the class distribution of the training data, unless the config has ``class_counts``."""
        if self._given is not None and len(distribution) != len(self._given):
            raise ClassDistributionError(
                f'{type(self).__name__}: expected `class_counts` to have {len(distribution)} entries, the number of '
                f'classes in the training data, but got {len(self._given)}.'
            )
        self._trained = distribution
        self._update()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names of the test set; empty if unknown."""
        return tuple((self.dataset_meta or {}).get('classes') or ())

    def _update(self) -> None:
        """Put the class distribution in label order, and group the classes."""
        names = self.class_names
        if self._trained is not None:
            self._trained.check_classes(names, 'the test set')
        distribution = self._trained if self._given is None else self._given
        if self._given is not None:
            order = names or (self._trained and self._trained.class_names)
            if order:
                distribution = self._given.in_label_order(order)
            elif self._given_by_name:
                distribution = None
        self.distribution = distribution
        self.shots = None if distribution is None else shots_by_convention(distribution, **self.grouping)

    # ------------------------------------------------------------------ batches

    def _labels(self, data_samples: Sequence[dict], key: str) -> torch.Tensor:
        """Collect the single label per sample, (N,)."""
        for sample in data_samples:
            if key not in sample or sample[key].numel() != 1:
                found = f'{sample[key].numel()} labels' if key in sample else f'the keys {sorted(sample)}'
                raise InputError(
                    f'{type(self).__name__} is for single-label classification: expected one `{key}` per image, but '
                    f'{name_of(sample)} has {found}.'
                )
        return torch.cat([sample[key].reshape(-1) for sample in data_samples])

    def _scores(self, data_samples: Sequence[dict]) -> torch.Tensor:
        """Collect the scores per sample, (N, C)."""
        for sample in data_samples:
            if 'pred_score' not in sample:
                raise InputError(f'Expected `pred_score` per image, but {name_of(sample)} has {sorted(sample)}.')
        scores = torch.stack([sample['pred_score'] for sample in data_samples])
        if self.distribution is not None and scores.shape[1:] != (len(self.distribution),):
            raise InputError(
                f'Expected `pred_score` of the {len(self.distribution)} training classes, but got shape '
                f'{tuple(scores.shape[1:])}.'
            )
        return scores

    @staticmethod
    def _check_finite(is_broken: torch.Tensor, data_samples: Sequence[dict]) -> None:
        """Raise if the scores of an image are broken, (N,)."""
        if broken := is_broken.nonzero().flatten().tolist():
            raise InputError(
                f'Expected finite scores, but got NaN or infinite values for {len(broken)} of {len(data_samples)} '
                f'images in the batch: {", ".join(name_of(data_samples[i]) for i in broken[:10])}. '
                'Has the training diverged, or is the checkpoint of another model?'
            )

    @staticmethod
    def _check_range(
        label: torch.Tensor, key: str, num_classes: int, data_samples: Sequence[dict], lowest: int = 0
    ) -> None:
        """Raise if a label, (N,), is not in [lowest, C)."""
        if outside := ((label < lowest) | (label >= num_classes)).nonzero().flatten().tolist():
            i = outside[0]
            raise InputError(
                f'Expected `{key}` to be in [{lowest}, {num_classes}), but {name_of(data_samples[i])} has '
                f'{int(label[i])}.'
            )


def untested_classes(names: Sequence[str], is_tested: np.ndarray, what: str = 'test images') -> str:
    """Return a sentence that names the classes without test images, (C,), or an empty string."""
    untested = [str(name) for name, tested in zip(names, is_tested, strict=True) if not tested]
    listed = ', '.join(untested[:SHOWN]) + ', ...' * (len(untested) > SHOWN)
    return f'{len(untested)} of {len(names)} classes without {what}, not counted: {listed}.' if untested else ''


def name_of(sample: dict) -> str:
    """Return the path or the index of an image, for messages."""
    return str(sample.get('img_path') or f'sample {sample.get("sample_idx", "?")}')
