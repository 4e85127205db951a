"""Accuracy of the experts that a student learns from, each on its own classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from ltmm.class_distribution import SHOT_NAMES
from ltmm.registry import METRICS
from ltmm.utils.errors import InputError

__all__ = ['TeacherMetric']


@METRICS.register_module()
class TeacherMetric(BaseMetric):
    """Accuracy of each expert of :class:`ltmm.models.LFMEClassifier` among its own classes, in percent.

    ``many``, ``medium`` and ``few`` are over the images of each group; a group without images is left out. For
    validation while training, where the experts are loaded.
    """

    default_prefix = 'teacher'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (group, whether the expert is right) per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``teacher_group`` () and ``teacher_is_right`` ().
        """
        if any('teacher_is_right' not in sample for sample in data_samples):
            raise InputError(
                'TeacherMetric expects `teacher_is_right`, which ltmm.LFMEClassifier predicts while it is trained. It '
                'belongs in `val_evaluator` only.'
            )
        columns = ([sample[key] for sample in data_samples] for key in ('teacher_group', 'teacher_is_right'))
        self.results.extend(zip(*(torch.stack(column).tolist() for column in columns)))

    def compute_metrics(self, results: list[tuple[int, bool]]) -> dict[str, float]:
        """Compute the figures in percent.

        Args:
            results: (group, whether the expert is right) per image, from all ranks.
        """
        group, is_right = (np.array(column) for column in zip(*results))
        return {
            name: 100 * float(is_right[group == number].mean())
            for number, name in enumerate(SHOT_NAMES)
            if (group == number).any()
        }
