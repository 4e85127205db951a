"""Predictions on the test set: confusions, calibration and pictures; those of one label per image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ltmm.evaluation.functional import CalibrationBins, calibration_bins
from ltmm.utils.errors import InputError
from ltmm.utils.predictions import read_predictions

__all__ = [
    'Groups',
    'Picture',
    'Predictions',
    'SingleLabelPredictions',
    'bins_of_groups',
    'of_images',
    'percent_of_rows',
]

NUM_BINS = 15
Groups = Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Picture:
    """A mistake in a picture.

    Args:
        image: Position of the image in the predictions.
        caption: A few words.
        objects: Objects of the class, [x1, y1, x2, y2] as shares of the width and height, (G, 4).
        boxes: Predicted boxes, likewise, (K, 4).
    """

    image: int
    caption: str
    objects: np.ndarray | None = None
    boxes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Base class: M cases, each of a class, in N test images.

    Args:
        names: C class names.
        label: True class of each case, (M,).
        pred: The class that it is taken for, or a key of ``others``, (M,).
        test_images: Test images per class, (C,).
        paths: Image files; empty where unknown, (N,).
        sample_idx: Positions in the test set, (N,).
    """

    others: ClassVar[dict[int, str]] = {}  # outcomes other than a class, -1, -2, ...
    wrong: ClassVar[str] = 'wrong, {}'  # of a group of classes
    cases: ClassVar[str] = 'test images'
    note: ClassVar[str]  # on the confusion
    axes: ClassVar[tuple[str, str]] = ('confidence', 'accuracy')
    counted: ClassVar[str] = 'images'  # in the calibration bins
    calibration_note: ClassVar[str] = ''
    num_pictures: ClassVar[int] = 5  # per class and kind of mistake

    names: tuple[str, ...]
    label: np.ndarray
    pred: np.ndarray
    test_images: np.ndarray
    paths: list[str]
    sample_idx: np.ndarray

    def calibration(self, groups: Groups) -> list[tuple[str, CalibrationBins]]:
        """Return names and calibration bins of all classes and of groups; none if the scores are not in [0, 1].

        Args:
            groups: Names and masks of the groups, (C,) each.
        """
        raise NotImplementedError

    def worst(self, label: int, num: int) -> dict[str, list[Picture]]:
        """Return up to ``num`` mistakes of each kind in the images of a class, worst first."""
        raise NotImplementedError

    def confusion_of_groups(self, masks: list[np.ndarray]) -> np.ndarray:
        """Return where the cases of each group of classes go, in percent, (G, 1 + G + O).

        The first column is the share of correct predictions, the next are of wrong ones, by the group of the predicted
        class, the last of ``others``. NaN for a group without cases.

        Args:
            masks: Masks of the G groups, (C,) each.
        """
        group = np.argmax(masks, axis=0)  # (C,)
        column = np.where(self.pred < 0, len(masks) - self.pred, 1 + group[self.pred])
        column[self.pred == self.label] = 0
        counts = np.zeros((len(masks), 1 + len(masks) + len(self.others)))
        np.add.at(counts, (group[self.label], column), 1)
        return percent_of_rows(counts)

    def boxes_of_groups(self, masks: list[np.ndarray]) -> np.ndarray | None:
        """Return the shares of true and false predicted boxes, (G, 3), in percent; None without boxes."""
        return None

    def frequent_mistakes(self, classes: np.ndarray, num: int) -> list[tuple[int, int, int]]:
        """Return the most frequent mistakes (class, predicted class, cases) in the classes of a mask, (C,)."""
        wrong = classes[self.label] & (self.pred != self.label) & (self.pred >= 0)
        pairs = Counter(zip(self.label[wrong].tolist(), self.pred[wrong].tolist()))
        return [(*pair, count) for pair, count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:num]]

    def mistaken_for(self, label: int) -> tuple[int, float] | None:
        """Return the class that the cases of a class are most often mistaken for, and their share in percent."""
        of_class = self.pred[self.label == label]
        wrong = of_class[(of_class != label) & (of_class >= 0)]
        if not len(wrong):
            return None
        other = int(np.bincount(wrong).argmax())
        return other, 100 * float((wrong == other).sum() / len(of_class))


@dataclass(frozen=True, eq=False)
class SingleLabelPredictions(Predictions):
    """Predictions of a single-label classifier; each image is a case.

    Args:
        confidence: Score of the predicted class, (N,).
    """

    note = 'Rows: group of the true class. Wrong predictions are split by the group of the predicted class.'

    confidence: np.ndarray

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> 'SingleLabelPredictions':
        """Read the file of ``tools/test.py --out``."""
        samples, num_classes = read_predictions(path), len(names)
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
            names=tuple(names),
            label=label,
            pred=scores.argmax(1),
            test_images=np.bincount(label, minlength=num_classes),
            confidence=scores.max(1),
            **of_images(samples),
        )

    def calibration(self, groups: Groups) -> list[tuple[str, CalibrationBins]]:
        return bins_of_groups(self.confidence, self.pred == self.label, self.label, groups)

    def worst(self, label: int, num: int) -> dict[str, list[Picture]]:
        wrong = np.flatnonzero((self.label == label) & (self.pred != label))
        worst = wrong[np.argsort(-self.confidence[wrong], kind='stable')][:num].tolist()
        seen_as = [f'seen as {self.names[self.pred[i]]}, {100 * self.confidence[i]:.0f} %' for i in worst]
        return {'confident mistakes': list(map(Picture, worst, seen_as))}


def bins_of_groups(
    confidence: np.ndarray, correct: np.ndarray, classes: np.ndarray, groups: Groups
) -> list[tuple[str, CalibrationBins]]:
    """Return names and calibration bins of all classes and of groups; none if a score is not in [0, 1].

    Args:
        confidence: Scores, (M,).
        correct: Whether they are of correct predictions, (M,).
        classes: Classes, (M,).
        groups: Names and masks of the groups, (C,) each.
    """
    if not len(confidence) or confidence.min() < 0 or confidence.max() > 1:
        return []
    parts = [('all', np.ones(len(classes), bool)), *((name, mask[classes]) for name, mask in groups)]
    return [(name, calibration_bins(confidence[of], correct[of], NUM_BINS)) for name, of in parts if of.any()]


def of_images(samples: Sequence[dict]) -> dict:
    """Return the fields of :class:`Predictions` about the images."""
    return dict(
        paths=[str(sample.get('img_path') or '') for sample in samples],
        sample_idx=np.array([int(sample.get('sample_idx', i)) for i, sample in enumerate(samples)]),
    )


def percent_of_rows(counts: np.ndarray) -> np.ndarray:
    """Divide by the sums of the rows, in percent; NaN for a row of zeros."""
    with np.errstate(invalid='ignore'):
        return 100 * counts / counts.sum(1, keepdims=True)
