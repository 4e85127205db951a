"""Open-set recognition: reject images of unknown classes, and still tell the known ones apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.class_distribution import missing_distribution_error
from ltmm.evaluation.functional import mean_by_shot, open_set_accuracy, open_set_f_measure, reject_uncertain
from ltmm.registry import METRICS
from ltmm.utils.checks import check

from .shot_metric import ShotMetric

__all__ = ['OpenSetMetric']


@METRICS.register_module()
class OpenSetMetric(ShotMetric):
    """Open-set figures of a single-label classifier, in percent; images of unknown classes have the label -1.

    Predictions with a probability below the threshold are rejected. ``f_measure`` is over all images, see
    :func:`ltmm.evaluation.functional.open_set_f_measure`; ``unknown`` is the share of the unknown images that are
    rejected; ``top1`` is over the known images; ``many``, ``medium``, ``few`` are the mean recall over the classes of
    each group, if any is tested. A known image that is rejected counts as wrong. :class:`ltmm.datasets.OpenSet` makes
    such a test set.

    Args:
        threshold: Of the probability.
        count_rejects: In the F-measure, count a rejected known image as a false positive, as OLTR does; Decoupling
            ignores it.
        **kwargs: See :class:`ShotMetric`.
    """

    default_prefix = 'open_set'

    def __init__(self, threshold: float = 0.1, count_rejects: bool = True, **kwargs: Any) -> None:
        check(threshold=(threshold, 'in [0, 1]'))
        self.threshold, self.count_rejects = threshold, count_rejects
        super().__init__(**kwargs)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, prediction or -1) per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``gt_label`` (1,) and ``pred_score`` (C,), probabilities.
        """
        if self.distribution is None:
            raise missing_distribution_error(type(self).__name__)
        label = self._labels(data_samples, 'gt_label').cpu()  # (N,)
        scores = self._scores(data_samples).cpu()  # (N, C)
        self._check_finite(scores.isnan().any(1), data_samples)
        self._check_range(label, 'gt_label', len(self.distribution), data_samples, lowest=-1)
        confidence, pred = scores.max(dim=1)
        pred = reject_uncertain(pred, confidence, self.threshold)
        self.results.extend(zip(label.tolist(), pred.tolist()))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Compute the figures in percent.

        Args:
            results: (label, prediction or -1) per image, from all ranks.
        """
        label, pred = np.array(results).T
        known = label[label >= 0]
        right = label[(label >= 0) & (pred == label)]
        support, hits = (np.bincount(x, minlength=len(self.distribution)) for x in (known, right))
        recall = np.divide(hits, support, out=np.full(len(support), np.nan), where=support > 0)  # (C,)
        figures = dict(
            f_measure=open_set_f_measure(pred, label, self.count_rejects),
            unknown=open_set_accuracy(pred, label),
            top1=len(right) / max(len(known), 1),
            **mean_by_shot(recall, self.shots),
        )
        return {name: 100 * value for name, value in figures.items() if not np.isnan(value)}
