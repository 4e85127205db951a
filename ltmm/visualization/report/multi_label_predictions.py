"""Predictions with several labels per image: which wrong classes outrank the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ltmm.evaluation.functional import CalibrationBins
from ltmm.utils.errors import InputError
from ltmm.utils.predictions import read_predictions

from .predictions import Groups, Picture, Predictions, bins_of_groups, of_images

__all__ = ['MultiLabelPredictions']


@dataclass(frozen=True, eq=False)
class MultiLabelPredictions(Predictions):
    """Predictions of a multi-label classifier; each positive label of an image is a case.

    A label is correct if it scores higher than all classes that the image does not have; otherwise it is taken for the
    best of these. Unknown labels (-1) are no cases and outrank nothing; images without a negative class have no cases.

    Args:
        scores: Scores, (N, C).
        target: 1 positive, 0 negative, -1 unknown, (N, C).
    """

    wrong = 'below {}'
    cases = 'labels of the test images'
    note = (
        'Rows: group of the label. Correct: it scores higher than all classes that the image does not have. The others '
        'are split by the group of the best of these; equal scores count as below. Unknown labels do not count.'
    )
    axes = ('probability', 'share of positives')
    counted = 'labels'
    num_pictures = 4  # of two kinds
    calibration_note = (
        'Each known label of each class counts, present or not. If most probabilities are close to 0, the error is '
        'small whatever the others are: look at the lines.'
    )

    scores: np.ndarray
    target: np.ndarray

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> 'MultiLabelPredictions':
        """Read the file of ``tools/test.py --out``."""
        samples = read_predictions(path)
        scores, target = [], []
        for sample in samples:
            score, labels = sample.get('pred_score'), _target(sample, len(names))
            is_valid = all(isinstance(x, torch.Tensor) and x.shape == (len(names),) for x in (score, labels))
            if not (is_valid and score.isfinite().all() and torch.isin(labels, torch.tensor([-1, 0, 1])).all()):
                raise InputError(
                    f'Expected {path} to have finite scores and labels (1, 0 or -1, unknown) of {len(names)} classes '
                    f'for each image, as the per-class CSV, but image {len(scores)} has not.'
                )
            scores.append(score.double().numpy())
            target.append(labels.to(torch.int8).numpy())
        return cls.from_scores(tuple(names), np.stack(scores), np.stack(target), **of_images(samples))

    @classmethod
    def from_scores(cls, names: tuple[str, ...], scores: np.ndarray, target: np.ndarray, **images) -> 'Predictions':
        """Find the cases.

        Args:
            names: C class names.
            scores: Scores, (N, C).
            target: 1 positive, 0 negative, -1 unknown, (N, C).
            **images: ``paths`` and ``sample_idx``.
        """
        of_negatives = np.where(target == 0, scores, -np.inf)  # (N, C)
        best, top = of_negatives.argmax(1), of_negatives.max(1)  # (N,)
        image, label = np.nonzero((target == 1) & (target == 0).any(1, keepdims=True))  # (M,)
        return cls(
            names=names,
            label=label,
            pred=np.where(scores[image, label] > top[image], label, best[image]),
            test_images=(target == 1).sum(0),
            scores=scores,
            target=target,
            **images,
        )

    def calibration(self, groups: Groups) -> list[tuple[str, CalibrationBins]]:
        image, label = np.nonzero(self.target != -1)
        return bins_of_groups(self.scores[image, label], self.target[image, label] == 1, label, groups)

    def worst(self, label: int, num: int) -> dict[str, list[Picture]]:
        """Return the positives below a negative, lowest first, and the negatives above a positive, highest first."""
        score, target = self.scores[:, label], self.target[:, label]
        positives, negatives = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
        low = positives[score[positives] <= score[negatives].max(initial=-np.inf)]
        high = negatives[score[negatives] >= score[positives].min(initial=np.inf)]
        low, high = low[np.argsort(score[low], kind='stable')], high[np.argsort(-score[high], kind='stable')]
        return {
            title: [Picture(i, f'{self.names[label]}: score {score[i]:.2f}') for i in images[:num].tolist()]
            for title, images in (('positives ranked lowest', low), ('negatives ranked highest', high))
        }


def _target(sample: dict, num_classes: int) -> torch.Tensor | None:
    """Return the labels, (C,), from ``gt_score``, or from ``gt_label``, the positive classes; None if invalid."""
    if 'gt_score' in sample:
        return sample['gt_score']
    label = sample.get('gt_label')
    if not isinstance(label, torch.Tensor) or not ((label >= 0) & (label < num_classes)).all():  # NaN
        return None
    return torch.zeros(num_classes).index_fill_(0, label.long().flatten(), 1)
