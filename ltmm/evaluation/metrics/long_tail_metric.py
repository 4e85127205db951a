"""Accuracy of a single-label classifier on many-, medium- and few-shot classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger

from ltmm.class_distribution import ClassDistribution, missing_distribution_error
from ltmm.evaluation.functional import ClassScores, LongTailStatistics, class_scores, predictions_and_ranks
from ltmm.evaluation.reports.log_folder import write_to_log_folder
from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.registry import METRICS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.shots import SHOT_NAMES

from .shot_metric import ShotMetric, untested_classes

__all__ = ['LongTailMetric']

FIGURES = {
    *SHOT_NAMES,
    'balanced_accuracy',
    'macro_precision',
    'macro_f1',
    'harmonic_mean',
    'geometric_mean',
    'lowest_recall',
}


@METRICS.register_module()
class LongTailMetric(ShotMetric):
    """Accuracy of a single-label classifier on many-, medium- and few-shot classes, in percent.

    ``top1``, ``top5`` over all images; ``many``, ``medium``, ``few``, the mean recall over the classes of each group;
    ``balanced_accuracy``, ``macro_precision``, ``macro_f1``, means over the classes; ``harmonic_mean``,
    ``geometric_mean`` and ``lowest_recall`` of the recalls. Means over classes ignore classes without test images. A
    group without tested classes is left out (CIFAR-10-LT has no few-shot class). ``save_best='long_tail/few'`` needs
    ``rule='greater'``.

    Only three numbers per image are kept and gathered. Duplicates added by MMEngine's ``DefaultSampler`` are dropped,
    so the figures do not depend on the number of ranks.

    Args:
        topk: Values of k for the top-k accuracy, of which those up to the number of classes are computed; ``(1,)`` if
            samples have ``pred_label`` but no ``pred_score``.
        recall_floor: Lower bound of the recalls in the harmonic and the geometric mean.
        groups: Further groups of classes, ``{name: class indices}``, which may overlap; the mean recall of each is a
            figure of this name. For benchmarks that publish them, such as those of videos.
        csv_name: File for the figures per class, next to the log; overwritten by the next evaluation. None: no file.
        **kwargs: See :class:`ShotMetric`.
    """

    default_prefix = 'long_tail'

    def __init__(
        self,
        topk: int | Sequence[int] = (1, 5),
        recall_floor: float = 1e-3,
        groups: Mapping[str, Sequence[int]] | None = None,
        csv_name: str | None = 'per_class.csv',
        **kwargs: Any,
    ) -> None:
        check(topk=(topk, 'int >= 1'), recall_floor=(recall_floor, 'in (0, 1)'))
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self.recall_floor = recall_floor
        self.groups = dict(groups or {})
        for name, classes in self.groups.items():
            check(**{f'groups[{name!r}]': (classes, 'int >= 0')})
            if name in FIGURES:
                raise InputError(
                    f'Expected another name in `groups` than {name!r}, which is a figure of LongTailMetric.'
                )
        self.csv_name = csv_name
        super().__init__(**kwargs)

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Set the class distribution of the training data, in which an image has one label."""
        labels, images = int(distribution.image_counts.sum()), distribution.num_images
        if labels > images:
            raise InputError(
                f'LongTailMetric is for one label per image, but the training data have {labels} labels on {images} '
                'images. Use ltmm.MultiLabelMetric, and a config of several labels.'
            )
        super().set_class_distribution(distribution)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, prediction, rank of the label) per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``gt_label`` (1,), and ``pred_score`` (C,) or ``pred_label`` (1,).
        """
        if self.distribution is None:
            raise missing_distribution_error(type(self).__name__)
        num_classes = len(self.distribution)
        label = self._labels(data_samples, 'gt_label')  # (N,)
        if 'pred_score' in data_samples[0]:
            scores = self._scores(data_samples)  # (N, C)
            label = label.to(scores.device)
            pred, rank = predictions_and_ranks(scores, label.clamp(0, num_classes - 1))
            is_broken = scores.isnan().any(1)
        else:
            if self.topk != (1,):
                raise InputError(f'Expected `pred_score` for topk={self.topk}, but got `pred_label`. Set topk=(1,).')
            pred = self._labels(data_samples, 'pred_label').to(label.device)
            rank, is_broken = (pred != label).long(), torch.zeros_like(label)
        table = torch.stack([label, pred, rank, is_broken.long()], dim=1).cpu()  # (N, 4), one transfer per batch
        self._check_finite(table[:, 3], data_samples)
        self._check_range(table[:, 0], 'gt_label', num_classes, data_samples)
        self._check_range(table[:, 1], 'pred_label', num_classes, data_samples)
        self.results.extend(map(tuple, table[:, :3].tolist()))

    def compute_metrics(self, results: list[tuple[int, int, int]]) -> dict[str, float]:
        """Compute the figures in percent.

        Args:
            results: (label, prediction, rank of the label) per image, from all ranks.
        """
        label, pred, rank = np.array(results).T
        num_classes = len(self.distribution)
        hits = {k: int((rank < k).sum()) for k in self.topk if k <= num_classes}
        scores = class_scores(pred, label, num_classes)
        metrics = LongTailStatistics(scores, hits).figures(self.shots, self.recall_floor)
        metrics |= self._group_figures(scores)
        report = PerClassReport.from_scores(scores, self.distribution, self.shots, self.class_names)
        groups = ', '.join(
            f'{name} {format(metrics[name], ".2f") if name in metrics else "-"} ({mask.sum()} classes)'
            for name, mask in self.shots.items()
        )
        MMLogger.get_current_instance().info(
            f'Mean recall by training images ({", ".join(map(str, filter(None, self.grouping.values())))}): {groups}. '
            + untested_classes(report.names, scores.tested)
        )
        write_to_log_folder(self.csv_name, report.to_csv)
        return metrics

    def _group_figures(self, scores: ClassScores) -> dict[str, float]:
        """Compute the mean recall of each group, in percent; a group without tested classes is left out."""
        figures = {}
        for name, classes in self.groups.items():
            if max(classes) >= len(scores.tested):
                raise InputError(f'Expected `groups` of {len(scores.tested)} classes, but {name!r} has {max(classes)}.')
            mask = np.isin(np.arange(len(scores.tested)), classes) & scores.tested
            if mask.any():
                figures[name] = float((100 * scores.recall[mask]).mean())
        return figures
