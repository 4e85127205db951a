"""Predictions of a classifier on the test set: confusions, calibration and pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ltmm.evaluation.functional import CalibrationBins, calibration_bins
from ltmm.utils.errors import InputError
from ltmm.utils.predictions import read_predictions

__all__ = ['Predictions']

NUM_BINS = 15


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of a single-label classifier.

    Args:
        label: True classes, (N,).
        pred: Predicted classes, (N,).
        confidence: Score of the predicted class, (N,).
        paths: Image files; empty where unknown, (N,).
        sample_idx: Positions in the test set, (N,).
    """

    label: np.ndarray
    pred: np.ndarray
    confidence: np.ndarray
    paths: list[str]
    sample_idx: np.ndarray

    @classmethod
    def read(cls, path: Path, num_classes: int) -> 'Predictions':
        """Read the file of ``tools/test.py --out``."""
        samples = read_predictions(path)
        expected = dict(pred_score=(num_classes,), gt_label=(1,))
        for sample in samples:
            got = {key: tuple(value.shape) for key in expected if isinstance(value := sample.get(key), torch.Tensor)}
            is_valid = got == expected and 0 <= sample['gt_label'].item() < num_classes
            if not is_valid or sample['pred_score'].isnan().any():
                raise InputError(
                    f'Expected {path} to have a label and the scores of {num_classes} classes for each image, as the '
                    f'per-class CSV, but got {got or list(sample)}.'
                )
        scores = torch.stack([sample['pred_score'] for sample in samples]).numpy()  # (N, C)
        label = torch.cat([sample['gt_label'] for sample in samples]).long().numpy()
        return cls(
            label=label,
            pred=scores.argmax(1),
            confidence=scores.max(1),
            paths=[str(sample.get('img_path') or '') for sample in samples],
            sample_idx=np.array([int(sample.get('sample_idx', i)) for i, sample in enumerate(samples)]),
        )

    @property
    def bins(self) -> CalibrationBins | None:
        """Calibration bins; None if the scores are not probabilities."""
        if self.confidence.min() < 0 or self.confidence.max() > 1:
            return None
        return calibration_bins(self.confidence, self.pred == self.label, NUM_BINS)

    def confusion_of_groups(self, masks: list[np.ndarray]) -> np.ndarray:
        """Return where the images of each group of classes go, in percent, (G, 1 + G).

        The first column is the share of correct predictions, the others are of wrong ones, by the group of the
        predicted class. NaN for a group without test images.

        Args:
            masks: Masks of the G groups, (C,) each.
        """
        group = np.argmax(masks, axis=0)  # (C,)
        column = np.where(self.pred == self.label, 0, 1 + group[self.pred])
        counts = np.zeros((len(masks), 1 + len(masks)))
        np.add.at(counts, (group[self.label], column), 1)
        with np.errstate(invalid='ignore'):
            return 100 * counts / counts.sum(1, keepdims=True)

    def mistaken_for(self, label: int) -> tuple[int, float] | None:
        """Return the class that the images of a class are most often mistaken for, and their share in percent."""
        of_class = self.pred[self.label == label]
        wrong = of_class[of_class != label]
        if not len(wrong):
            return None
        other = int(np.bincount(wrong).argmax())
        return other, 100 * float((wrong == other).sum() / len(of_class))

    def worst_images(self, label: int, num: int) -> list[int]:
        """Return the positions of the images of a class that are predicted wrong with the highest confidence."""
        wrong = np.flatnonzero((self.label == label) & (self.pred != label))
        return wrong[np.argsort(-self.confidence[wrong], kind='stable')][:num].tolist()
