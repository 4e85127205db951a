"""How well the uncertainty of a single-label classifier finds tail images, mistakes and images of unknown classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ltmm.class_distribution import missing_distribution_error
from ltmm.evaluation.functional import auroc
from ltmm.registry import METRICS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .shot_metric import ShotMetric

__all__ = ['UncertaintyMetric']


@METRICS.register_module()
class UncertaintyMetric(ShotMetric):
    """Areas under the ROC curve of the uncertainty, in percent; 50 is chance.

    ``auroc_tail`` tells images of few-shot classes from the others, ``auroc_failure`` wrong predictions from right
    ones, both among the images of known classes, and ``auroc_unknown`` images of unknown classes, which have the label
    -1, from all known ones; :class:`ltmm.datasets.OpenSet` makes such a test set. A figure that the test set does not
    have is left out.

    TLC takes the third of the classes with fewest images for the tail: ``convention='mislas', num_many=34, num_few=33``
    for 100 classes.

    Args:
        source: ``'uncertainty'``, which ``ltmm.MultiExpertClsHead`` predicts with ``ltmm.EvidentialAggregation``, or
            ``'confidence'``: 1 - the largest probability, to compare it with.
        **kwargs: See :class:`ShotMetric`.
    """

    default_prefix = 'uncertainty'

    def __init__(self, source: str = 'uncertainty', **kwargs: Any) -> None:
        check(source=(source, ('confidence', 'uncertainty')))
        self.source = source
        super().__init__(**kwargs)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, prediction, uncertainty) per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``gt_label`` (1,), ``pred_score`` (C,) and ``uncertainty`` ().
        """
        if self.distribution is None:
            raise missing_distribution_error(type(self).__name__)
        label = self._labels(data_samples, 'gt_label').cpu()  # (N,)
        confidence, pred = self._scores(data_samples).max(dim=1)  # (N,)
        self._check_range(label, 'gt_label', len(self.distribution), data_samples, lowest=-1)
        uncertainty = 1 - confidence
        if self.source == 'uncertainty':
            if any('uncertainty' not in sample for sample in data_samples):
                raise InputError(
                    'UncertaintyMetric expects `uncertainty`, which ltmm.MultiExpertClsHead predicts with '
                    "aggregation=dict(type='ltmm.EvidentialAggregation'). Use source='confidence' for other models."
                )
            uncertainty = torch.stack([sample['uncertainty'] for sample in data_samples])
        self._check_finite(~uncertainty.isfinite(), data_samples)
        self.results.extend(zip(label.tolist(), pred.tolist(), uncertainty.tolist()))

    def compute_metrics(self, results: list[tuple[int, int, float]]) -> dict[str, float]:
        """Compute the figures in percent.

        Args:
            results: (label, prediction, uncertainty) per image, from all ranks.
        """
        label, pred, uncertainty = (np.array(column) for column in zip(*results))
        known = label >= 0
        figures = dict(
            auroc_tail=auroc(uncertainty[known], self.shots.few[label[known]]),
            auroc_failure=auroc(uncertainty[known], (pred != label)[known]),
            auroc_unknown=auroc(uncertainty, ~known),
        )
        return {name: 100 * value for name, value in figures.items() if not np.isnan(value)}
