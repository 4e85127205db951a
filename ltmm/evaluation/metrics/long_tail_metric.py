"""Classification accuracy, for the head and the tail apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger

from ltmm.class_distribution import ClassDistribution, missing_distribution_error
from ltmm.evaluation.functional import class_scores, geometric_mean, harmonic_mean, label_ranks
from ltmm.evaluation.reports.class_csv import write_beside_log
from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.registry import METRICS

from .shot_metric import EMPTY_GROUP, ShotMetric

__all__ = ['LongTailMetric']


@METRICS.register_module()
class LongTailMetric(ShotMetric):
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
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(f'Expected `topk` to be positive, but got {topk}.')
        if not 0 < recall_floor < 1:
            raise ValueError(f'Expected `recall_floor` to be in (0, 1), but got {recall_floor}.')
        self.recall_floor = recall_floor
        self.csv_name = csv_name
        super().__init__(convention, thresholds, num_many, num_few, class_counts, collect_device, prefix)

    def _accept(self, distribution: ClassDistribution) -> None:
        super()._accept(distribution)
        if max(self.topk) > len(distribution):
            raise ValueError(
                f'Expected `topk` to be at most the number of classes, {len(distribution)}, but got {self.topk}. '
                'Set topk=(1,) in val_evaluator and test_evaluator.'
            )

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
            scores = self._scores(data_samples)  # (N, C)
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
        self._refuse_broken(table[:, 3], data_samples)
        self._refuse_outside(table[:, 0], 'gt_label', num_classes, data_samples)
        self._refuse_outside(table[:, 1], 'pred_label', num_classes, data_samples)
        self.results.extend(map(tuple, table[:, :3].tolist()))

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
        write_beside_log(self.csv_name, report.to_csv)
