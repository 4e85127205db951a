"""What metrics of single-label classification share: who is frequent, and a look at what the model gives."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.evaluator import BaseMetric

from ltmm.class_distribution import ClassDistribution, ClassDistributionError, Shots
from ltmm.datasets.labels import class_distribution_of
from ltmm.evaluation.functional import shots_by_convention

__all__ = ['EMPTY_GROUP', 'ShotMetric', 'name_of']

EMPTY_GROUP = -1.0  # the figure of a shot group without a tested class, as in COCO's and LVIS's tables


class ShotMetric(BaseMetric):
    """A metric that tells many-, medium- and few-shot classes apart.

    The class distribution of the training data arrives from :class:`ltmm.engine.ClassDistributionHook`.

    Args:
        convention: how classes are grouped: ``'decoupling'``, ``'oltr'`` or ``'mislas'``, see
            :func:`ltmm.evaluation.functional.shots_by_convention`.
        thresholds: other borders than 100 and 20 images, as (many, few).
        num_many: number of many-shot classes, with ``'mislas'``.
        num_few: number of few-shot classes, with ``'mislas'``.
        class_counts: training images per class, as :meth:`ltmm.ClassDistribution.build` takes them; they stay when the
            hook brings others. The config of a dataset with all labels groups the classes alike, whatever share of
            the labels a training has.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: of the names of the figures.

    Raises:
        ClassDistributionError: a number of classes that is not that of the test set.
    """

    def __init__(
        self,
        convention: str,
        thresholds: Sequence[int] | None,
        num_many: int | None,
        num_few: int | None,
        class_counts: Sequence[int] | dict | str | None,
        collect_device: str,
        prefix: str | None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.grouping = dict(convention=convention, thresholds=thresholds, num_many=num_many, num_few=num_few)
        if isinstance(class_counts, Mapping) and isinstance(class_counts.get('type'), str):
            class_counts = class_distribution_of(class_counts)
        self.class_counts = class_counts
        self.distribution: ClassDistribution | None = None
        self.shots: Shots | None = None
        if class_counts is not None:
            self._accept(ClassDistribution.build(self.class_counts))

    # ------------------------------------------------------------------ who is frequent

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Take the class names of the test set."""
        self._dataset_meta = dataset_meta
        if self.distribution is not None:
            self._accept(self.distribution)

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Take the distribution of the training data; counts given explicitly in the config stay."""
        if self.class_counts is None:
            self._accept(distribution)
        elif len(distribution) != len(self.distribution):
            raise ClassDistributionError(
                f'{type(self).__name__}: expected `class_counts` to have {len(distribution)} entries, the number of '
                f'classes in the training data, but got {len(self.distribution)}.'
            )

    @property
    def _class_names(self) -> tuple[str, ...]:
        return tuple((self.dataset_meta or {}).get('classes') or ())

    def _accept(self, distribution: ClassDistribution) -> None:
        num_classes, names = len(distribution), self._class_names
        if names and len(names) != num_classes:
            raise ClassDistributionError(
                f'{type(self).__name__}: expected counts of the {len(names)} classes of the test set, but the class '
                f'distribution has {num_classes} classes. Training and test set must have the same classes.'
            )
        if names and self.class_counts is not None:  # counts by name come in the label order of the test set
            distribution = ClassDistribution.build(self.class_counts, names)
        trained = distribution.class_names
        if names and trained and names != trained and set(names) == set(trained):
            i = next(i for i in range(num_classes) if names[i] != trained[i])
            raise ClassDistributionError(
                f'{type(self).__name__}: expected training and test set to have their classes in the same order, '
                f'but class {i} is {trained[i]!r} in training and {names[i]!r} in the test set.'
            )
        self.shots = shots_by_convention(distribution, **self.grouping)
        self.distribution = distribution

    # ------------------------------------------------------------------ batches

    def _labels(self, data_samples: Sequence[dict], key: str) -> torch.Tensor:
        """The one label under ``key`` of each sample, (N,)."""
        values = [sample[key].reshape(-1) for sample in data_samples if key in sample]
        if len(values) != len(data_samples) or any(len(value) != 1 for value in values):
            bad = next(sample for sample in data_samples if key not in sample or sample[key].numel() != 1)
            found = f'{bad[key].numel()} labels' if key in bad else f'the keys {sorted(bad)}'
            raise ValueError(
                f'Expected one `{key}` an image, but {name_of(bad)} has {found}. '
                f'{type(self).__name__} is for single-label classification.'
            )
        return torch.cat(values)

    def _scores(self, data_samples: Sequence[dict]) -> torch.Tensor:
        """The scores of each sample, (N, C), of as many classes as there are in the training data."""
        if any('pred_score' not in sample for sample in data_samples):
            bad = next(sample for sample in data_samples if 'pred_score' not in sample)
            raise ValueError(f'Expected `pred_score` of each image, but {name_of(bad)} has the keys {sorted(bad)}.')
        scores = torch.stack([sample['pred_score'] for sample in data_samples])
        if self.distribution is not None and scores.shape[1:] != (len(self.distribution),):
            raise ValueError(
                f'Expected `pred_score` of {len(self.distribution)} classes, as in the training data, '
                f'but got shape {tuple(scores.shape[1:])}.'
            )
        return scores

    @staticmethod
    def _refuse_broken(is_broken: torch.Tensor, data_samples: Sequence[dict], how: str = 'NaN') -> None:
        if broken := is_broken.nonzero().flatten().tolist():
            raise ValueError(
                f'Expected scores that are numbers, but those of {len(broken)} of {len(data_samples)} images in the '
                f'batch are {how}: {", ".join(name_of(data_samples[i]) for i in broken[:10])}. '
                'Has the training diverged, or is the checkpoint of another model?'
            )

    @staticmethod
    def _refuse_outside(label: torch.Tensor, key: str, num_classes: int, data_samples: Sequence[dict]) -> None:
        outside = ((label < 0) | (label >= num_classes)).nonzero().flatten().tolist()
        if outside:
            i = outside[0]
            raise ValueError(
                f'Expected `{key}` to be in [0, {num_classes}), but {name_of(data_samples[i])} has {int(label[i])}.'
            )


def name_of(sample: dict) -> str:
    """What tells an image from the others: its path or index."""
    if sample.get('img_path'):
        return str(sample['img_path'])
    return f'sample {sample.get("sample_idx", "?")}'
