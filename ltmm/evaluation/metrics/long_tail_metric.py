"""Classification accuracy, for the head and the tail apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ltmm.class_distribution import ClassDistribution, ClassDistributionError, missing_distribution_error
from ltmm.evaluation.functional import (
    class_scores,
    geometric_mean,
    harmonic_mean,
    label_ranks,
    shots_by_convention,
)
from ltmm.evaluation.per_class_report import PerClassReport
from ltmm.registry import METRICS
from ltmm.utils.atomic_backend import AtomicLocalBackend

__all__ = ['LongTailMetric']

EMPTY_GROUP = -1.0


@METRICS.register_module()
class LongTailMetric(BaseMetric):
    """What a single-label classifier can do on many-, medium- and few-shot classes.

    Figures are in percent: ``top1``, ``top5`` over all images; ``many``, ``medium``, ``few``, the mean recall of the
    classes of each group; ``balanced_accuracy``, ``macro_precision``, ``macro_f1``, means over the classes;
    ``harmonic_mean``, ``geometric_mean`` and ``lowest_recall`` of the recalls. All means over classes leave out those
    without a test image; the log says how many these are. A group without a tested class is -1, as in COCO's and
    LVIS's tables (CIFAR-10-LT has no few-shot class, for one). ``save_best='long_tail/few'`` needs ``rule='greater'``.

    The class distribution of the training data arrives from :class:`ltmm.engine.ClassDistributionHook`. Three numbers
    an image are kept until the end of the epoch and gathered from all ranks, where those with which MMEngine's
    ``DefaultSampler`` filled up its last round are dropped: the figures are those of one process.

    Args:
        topk: ks of the top-k accuracy; ``(1,)`` where samples have a ``pred_label`` and no ``pred_score``.
        convention: how classes are grouped: ``'decoupling'``, ``'oltr'`` or ``'mislas'``, see
            :func:`ltmm.evaluation.functional.shots_by_convention`.
        thresholds: other borders than 100 and 20 images, as (many, few).
        num_many: number of many-shot classes, with ``'mislas'``.
        num_few: number of few-shot classes, with ``'mislas'``.
        class_counts: training images per class, as :meth:`ltmm.ClassDistribution.build` takes them; they stay when the
            hook brings others.
        recall_floor: recalls are raised to this share in the harmonic and the geometric mean.
        csv_name: file of the figures of each class, beside the log, overwritten by the next evaluation; None for none.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: of the names of the figures.

    Raises:
        ClassDistributionError: a number of classes that is not that of the test set.
        RuntimeError: at the first batch, when no class distribution has arrived.
        ValueError: labels out of range, scores that are NaN, more than one label an image, fewer classes than ``topk``.
    """

    default_prefix = 'long_tail'

    def __init__(
        self,
        topk: int | Sequence[int] = (1, 5),
        convention: str = 'decoupling',
        thresholds: Sequence[int] | None = None,
        num_many: int | None = None,
        num_few: int | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        recall_floor: float = 1e-3,
        csv_name: str | None = 'per_class.csv',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(f'Expected `topk` to be positive, but got {topk}.')
        if not 0 < recall_floor < 1:
            raise ValueError(f'Expected `recall_floor` to be in (0, 1), but got {recall_floor}.')
        self.grouping = dict(convention=convention, thresholds=thresholds, num_many=num_many, num_few=num_few)
        self.class_counts = class_counts
        self.recall_floor = recall_floor
        self.csv_name = csv_name
        self.distribution: ClassDistribution | None = None
        if class_counts is not None:
            self._accept(ClassDistribution.build(class_counts))

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
                f'LongTailMetric: expected `class_counts` to have {len(distribution)} entries, the number of classes '
                f'in the training data, but got {len(self.distribution)}.'
            )

    @property
    def _class_names(self) -> tuple[str, ...]:
        return tuple((self.dataset_meta or {}).get('classes') or ())

    def _accept(self, distribution: ClassDistribution) -> None:
        num_classes, names = len(distribution), self._class_names
        if names and len(names) != num_classes:
            raise ClassDistributionError(
                f'LongTailMetric: expected counts of the {len(names)} classes of the test set, but the class '
                f'distribution has {num_classes} classes. Training and test set must have the same classes.'
            )
        if names and self.class_counts is not None:  # counts by name come in the label order of the test set
            distribution = ClassDistribution.build(self.class_counts, names)
        trained = distribution.class_names
        if names and trained and names != trained and set(names) == set(trained):
            i = next(i for i in range(num_classes) if names[i] != trained[i])
            raise ClassDistributionError(
                f'LongTailMetric: expected training and test set to have their classes in the same order, '
                f'but class {i} is {trained[i]!r} in training and {names[i]!r} in the test set.'
            )
        if max(self.topk) > num_classes:
            raise ValueError(
                f'Expected `topk` to be at most the number of classes, {num_classes}, but got {self.topk}. '
                'Set topk=(1,) in val_evaluator and test_evaluator.'
            )
        self.shots = shots_by_convention(distribution, **self.grouping)
        self.distribution = distribution

    # ------------------------------------------------------------------ batches

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep (label, prediction, rank of the label) of each image.

        Args:
            data_batch: not used.
            data_samples: what the model gives, with ``gt_label`` (1,), and ``pred_score`` (C,) or ``pred_label`` (1,).
        """
        if self.distribution is None:
            raise missing_distribution_error(type(self).__name__)
        num_classes = len(self.distribution)
        label = self._labels(data_samples, 'gt_label')  # (N,)
        if 'pred_score' in data_samples[0]:
            scores = torch.stack([sample['pred_score'] for sample in data_samples])  # (N, C)
            if scores.shape != (len(label), num_classes):
                raise ValueError(
                    f'Expected `pred_score` of {num_classes} classes, as in the training data, '
                    f'but got shape {tuple(scores.shape[1:])}.'
                )
            label = label.to(scores.device)
            pred, rank = scores.argmax(1), label_ranks(scores, label.clamp(0, num_classes - 1))
            broken = scores.isnan().any(1)
        else:
            if self.topk != (1,):
                raise ValueError(
                    f'Expected `pred_score` in the data samples for topk={self.topk}, but they have only '
                    '`pred_label`. Set topk=(1,).'
                )
            pred = self._labels(data_samples, 'pred_label').to(label.device)
            rank, broken = (pred != label).long(), torch.zeros_like(label)
        table = torch.stack([label, pred, rank, broken.long()], dim=1).cpu()  # (N, 4), one transfer a batch
        self._check(table, data_samples)
        self.results.extend(map(tuple, table[:, :3].tolist()))

    @staticmethod
    def _labels(data_samples: Sequence[dict], key: str) -> torch.Tensor:
        values = [sample[key].reshape(-1) for sample in data_samples if key in sample]
        if len(values) != len(data_samples) or any(len(value) != 1 for value in values):
            bad = next(sample for sample in data_samples if key not in sample or sample[key].numel() != 1)
            found = f'{bad[key].numel()} labels' if key in bad else f'the keys {sorted(bad)}'
            raise ValueError(
                f'Expected one `{key}` an image, but {_name_of(bad)} has {found}. '
                'LongTailMetric is for single-label classification.'
            )
        return torch.cat(values)  # (N,)

    def _check(self, table: torch.Tensor, data_samples: Sequence[dict]) -> None:
        num_classes = len(self.distribution)
        if broken := table[:, 3].nonzero().flatten().tolist():
            raise ValueError(
                f'Expected scores that are numbers, but those of {len(broken)} of {len(data_samples)} images in the '
                f'batch are NaN: {", ".join(_name_of(data_samples[i]) for i in broken[:10])}. '
                'Has the training diverged, or is the checkpoint of another model?'
            )
        for column, key in enumerate(('gt_label', 'pred_label')):
            outside = (table[:, column] < 0) | (table[:, column] >= num_classes)
            if outside.any():
                i = int(outside.nonzero()[0])
                raise ValueError(
                    f'Expected `{key}` to be in [0, {num_classes}), but {_name_of(data_samples[i])} has '
                    f'{int(table[i, column])}.'
                )

    # ------------------------------------------------------------------ figures

    def compute_metrics(self, results: list[tuple[int, int, int]]) -> dict[str, float]:
        """The figures, in percent.

        Args:
            results: (label, prediction, rank of the label) of all images of all ranks.
        """
        if not results:
            raise ValueError('LongTailMetric: the test set is empty.')
        label, pred, rank = np.array(results).T
        scores = class_scores(pred, label, len(self.distribution))
        report = PerClassReport.from_scores(scores, self.distribution, self.shots, self._class_names)
        figures = report.figures()
        tested = scores.tested
        recall = scores.recall[tested]
        metrics = {f'top{k}': 100 * float((rank < k).mean()) for k in self.topk}
        for name in ('many', 'medium', 'few'):
            metrics[name] = EMPTY_GROUP if np.isnan(figures[name]) else figures[name]
        metrics |= dict(
            balanced_accuracy=figures['balanced_accuracy'],
            macro_precision=float(report.precision[tested].mean()),
            macro_f1=float(report.f1[tested].mean()),
            harmonic_mean=100 * harmonic_mean(recall, self.recall_floor),
            geometric_mean=100 * geometric_mean(recall, self.recall_floor),
            lowest_recall=figures['lowest_recall'],
        )
        self._report(report, figures)
        return metrics

    def _report(self, report: PerClassReport, figures: dict[str, float]) -> None:
        """A line in the log, and the figures of each class beside it."""
        logger = MMLogger.get_current_instance()
        groups = ', '.join(
            f'{name} {"-" if np.isnan(figures[name]) else format(figures[name], ".2f")} ({mask.sum()} classes)'
            for name, mask in self.shots.items()
        )
        untested = int((report.test_images == 0).sum())
        left_out = f'; {untested} classes without a test image are left out of all means' if untested else ''
        logger.info(f'Mean recall by training images ({self.grouping["convention"]}): {groups}{left_out}.')
        if self.csv_name is None or logger.log_file is None:
            return
        path = Path(logger.log_file).parent / self.csv_name
        try:
            AtomicLocalBackend().put(report.to_csv().encode(), path)
        except OSError as e:
            logger.warning(f'Cannot write the figures of each class to {path}: {e.strerror}.')


def _name_of(sample: dict) -> str:
    """What tells an image from the others: its path or index."""
    if sample.get('img_path'):
        return str(sample['img_path'])
    return f'sample {sample.get("sample_idx", "?")}'
