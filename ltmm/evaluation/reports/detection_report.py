"""Per-class results of a detector."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ltmm.class_distribution import FREQUENCIES

from .class_report import ClassReport

__all__ = ['DetectionReport']


@dataclass(frozen=True, eq=False)
class DetectionReport(ClassReport):
    """Average precision per class, in label order and in percent; NaN for classes without objects in the test images.

    Args:
        names: C class names.
        train_images: Training images per class, (C,), or None if unknown.
        frequency: 'f', 'c' or 'r' per class, (C,).
        test_images: Test images that contain the class, (C,).
        test_instances: Objects in the test images, (C,).
        ap: Average precision over the IoU thresholds 0.5 to 0.95, (C,).
        ap50: Average precision at IoU 0.5, (C,).
        ap_fixed: Average precision of the 10,000 best detections of the class, (C,).
    """

    value_name = 'AP of the class'
    metric = 'LVISMetric'
    group_column, group_names = 'frequency', FREQUENCIES
    count_names = ('test_images', 'test_instances')
    figure_names = ('ap', 'ap50', 'ap_fixed')

    names: tuple[str, ...]
    train_images: np.ndarray | None
    frequency: np.ndarray
    test_images: np.ndarray
    test_instances: np.ndarray
    ap: np.ndarray
    ap50: np.ndarray
    ap_fixed: np.ndarray

    def groups(self) -> list[tuple[str, np.ndarray]]:
        return [(word, self.frequency == letter) for letter, word in FREQUENCIES.items()]

    def figures(self) -> dict[str, float]:
        groups = {f'AP{letter}': self.ap[self.frequency == letter] for letter in 'rcf'}
        groups = dict(AP=self.ap, AP50=self.ap50, **groups, AP_fixed=self.ap_fixed)
        tested = {name: values[~np.isnan(values)] for name, values in groups.items()}
        return {name: float(values.mean()) if len(values) else float('nan') for name, values in tested.items()}

    @classmethod
    def _parse_groups(cls, names: np.ndarray) -> dict[str, Any]:
        return dict(frequency=np.array([name[:1] for name in names]))
