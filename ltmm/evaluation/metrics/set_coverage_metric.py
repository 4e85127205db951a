"""Coverage and size of conformal sets."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.evaluation.functional import SetCoverage
from ltmm.registry import METRICS
from ltmm.utils.errors import InputError

from .shot_metric import ShotMetric, name_of

__all__ = ['SetCoverageMetric']


@METRICS.register_module()
class SetCoverageMetric(ShotMetric):
    """Coverage and size of the sets of classes that ``ltmm.ConformalSets`` predicts.

    ================================  =============================================================================
    ``marginal``                      share of the images whose class is in the set, in percent
    ``macro``                         mean of this share over the classes, in percent
    ``low``                           share of the classes with less than half of the images covered, in percent
    ``size``                          mean number of classes in a set
    ``many``, ``size_many``, ...      coverage, in percent, and size, means over the classes of each group
    ================================  =============================================================================

    Args:
        **kwargs: See :class:`ShotMetric`.
    """

    default_prefix = 'coverage'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, whether it is in the set, size of the set, number of classes) per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``gt_label`` (1,) and ``pred_set``, booleans (C,).
        """
        labels = self._labels(data_samples, 'gt_label').tolist()
        for sample, label in zip(data_samples, labels):
            if 'pred_set' not in sample:
                raise InputError(
                    f'Expected `pred_set` per image, but {name_of(sample)} has {sorted(sample)}. '
                    'tools/post_process.py CONFIG CHECKPOINT --method conformal writes a model that predicts sets.'
                )
            members = sample['pred_set'].cpu().numpy()
            if not 0 <= label < len(members):
                raise InputError(
                    f'Expected `gt_label` to be in [0, {len(members)}), but {name_of(sample)} has {label}.'
                )
            self.results.append((label, members[label], members.sum(), len(members)))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Compute the figures.

        Args:
            results: See :meth:`process`, from all ranks.
        """
        label, is_covered, size, num_classes = map(np.array, zip(*results))
        counts = (np.bincount(label, weight, num_classes[0]) for weight in (None, is_covered, size))
        figures = SetCoverage(*counts).figures(self.shots)
        return {name: value if name.startswith('size') else 100 * value for name, value in figures.items()}
