"""Experts used per image, and what they cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.class_distribution import missing_distribution_error
from ltmm.registry import METRICS
from ltmm.utils.errors import InputError

from .shot_metric import ShotMetric

__all__ = ['EarlyExitMetric']


@METRICS.register_module()
class EarlyExitMetric(ShotMetric):
    """Average number of experts that an image uses, and its multiply-adds.

    ``num_experts`` over all images; ``many``, ``medium``, ``few``, over the images of the classes of each group;
    ``gflops``, billions of multiply-adds per image; ``flops_share``, their share of those with all experts, in percent.

    Args:
        **kwargs: See :class:`ShotMetric`.
    """

    default_prefix = 'early_exit'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, experts, multiply-adds, those with all experts) per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions of ``ltmm.EarlyExitClassifier`` with ``gt_label`` (1,).
        """
        if any('num_experts' not in sample for sample in data_samples):
            raise InputError(
                'EarlyExitMetric expects `num_experts`, which only ltmm.EarlyExitClassifier predicts. Use '
                'ltmm.LongTailMetric for other models.'
            )
        if self.shots is None:
            raise missing_distribution_error(type(self).__name__)
        labels = self._labels(data_samples, 'gt_label').tolist()
        self.results += [
            (label, s['num_experts'], s['flops'], s['max_flops']) for label, s in zip(labels, data_samples)
        ]

    def compute_metrics(self, results: list[tuple[int, int, int, int]]) -> dict[str, float]:
        """Compute the averages.

        Args:
            results: (label, experts, multiply-adds, those with all experts) per image, from all ranks.
        """
        label, num_experts, flops, max_flops = np.array(results).T
        groups = {name: num_experts[mask[label]] for name, mask in self.shots.items()}
        return dict(
            num_experts=float(num_experts.mean()),
            **{name: float(used.mean()) for name, used in groups.items() if len(used)},
            gflops=float(flops.mean() / 1e9),
            flops_share=100 * float(flops.sum() / max_flops.sum()),
        )
