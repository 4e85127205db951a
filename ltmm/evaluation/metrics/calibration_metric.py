"""Calibration errors of a single-label classifier, also per many-, medium- and few-shot group."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info

from ltmm.evaluation.functional import (
    CalibrationBins,
    adaptive_calibration_bins,
    brier_score,
    calibration_bins,
    class_wise_adaptive_calibration_bins,
    class_wise_calibration_bins,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)
from ltmm.evaluation.functional.calibration import LOWEST_PROBABILITY
from ltmm.evaluation.reports.log_folder import write_to_log_folder
from ltmm.registry import METRICS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .shot_metric import ShotMetric

__all__ = ['CalibrationMetric']

SUM_TOLERANCE = 1e-2  # for probabilities in bfloat16


@METRICS.register_module()
class CalibrationMetric(ShotMetric):
    """Calibration errors of a single-label classifier.

    Errors are in percent. Bins have equal width unless stated otherwise.

    =====================  =========================================================================================
    ``ece``, ``mce``       mean and maximum gap between confidence and accuracy over the bins (ECE, MCE)
    ``oe``                 mean of confidence times overconfidence over the bins (OE)
    ``sce``                ECE of the probabilities of each class, mean over the classes (static or class-wise ECE)
    ``adaptive_ece``       ECE with bins of equal size
    ``ace``, ``tace``      SCE with bins of equal size, and with small probabilities left out; optional
    ``nll``, ``brier``     mean negative log-likelihood and Brier score, not in percent
    ``ece_many`` ...       ECE of the images whose true class is many-, medium- or few-shot, if the class
                           distribution is known and the group has test images
    =====================  =========================================================================================

    Five numbers per image, the bins of each class, (C, B), and the scores of one image are kept. Duplicates added by
    MMEngine's ``DefaultSampler`` are dropped, so the figures do not depend on the number of ranks.

    ``pred_score`` has to be probabilities, of a softmax or, with ``activation='sigmoid'``, of one sigmoid per class
    (``ltmm.LongTailClsHead`` with ``ltmm.SigmoidFocalLoss``, or ``ltmm.ClassBalancedLoss`` of type sigmoid or focal);
    the likelihood is then the product over all C binary labels.

    Args:
        num_bins: Number of bins B.
        activation: ``'softmax'``, scores that sum to 1, or ``'sigmoid'``, scores in [0, 1].
        ace: Compute the ACE, for which the scores of all images, (N, C), are kept and gathered.
        tace_threshold: Compute the TACE, the ACE without probabilities below this, 0.01 in the paper; keeps all scores.
        count_true_negatives: In SCE, ACE and TACE, compare the probability of a class with how often prediction and
            label agree about it, as BalPoE's code does. For comparison with its figures only.
        csv_name: File for the bins of the reliability diagram, next to the log; overwritten by the next evaluation.
            ``tools/analysis_tools/reliability_diagram.py`` draws it. None: no file.
        **kwargs: See :class:`ShotMetric`.
    """

    default_prefix = 'calibration'

    def __init__(
        self,
        num_bins: int = 15,
        activation: str = 'softmax',
        ace: bool = False,
        tace_threshold: float | None = None,
        count_true_negatives: bool = False,
        csv_name: str | None = 'calibration_bins.csv',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check(
            num_bins=(num_bins, 'int >= 1'),
            activation=(activation, ('sigmoid', 'softmax')),
            tace_threshold=(tace_threshold, 'in (0, 1) or None'),
        )
        self.num_bins, self.activation = num_bins, activation
        self.count_true_negatives = count_true_negatives
        self.csv_name = csv_name
        self.thresholds = ({'ace': 0.0} if ace else {}) | ({'tace': tace_threshold} if tace_threshold else {})
        self.bins: CalibrationBins | None = None  # of the last evaluation, on the first rank
        self._class_bins: CalibrationBins | None = None
        self._last: tuple[np.ndarray, ...] | None = None  # probability (1, C), label, prediction not yet in a bin

    # ------------------------------------------------------------------ batches

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, prediction, confidence, negative log-likelihood, Brier score) per image, and fill the bins.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``gt_label`` (1,) and ``pred_score`` (C,).
        """
        label = self._labels(data_samples, 'gt_label').cpu()  # (N,)
        scores = self._scores(data_samples)  # (N, C)
        self._check_finite(scores.sum(1).isnan(), data_samples)
        self._check_range(label, 'gt_label', scores.size(1), data_samples)
        probability, label = _as_probability(scores.cpu().double().numpy(), self.activation), label.numpy()
        pred = probability.argmax(1)  # ties go to the first class, as in LongTailMetric
        nll, brier = negative_log_likelihood(probability, label), brier_score(probability, label)
        if self.activation == 'sigmoid':
            nll = nll + _negative_log_likelihood_of_others(probability, label)
        figures = [array.tolist() for array in (label, pred, probability.max(1), nll, brier)]
        if self.thresholds:
            figures.append(probability if scores.dtype == torch.float64 else probability.astype(np.float32))
        self.results.extend(zip(*figures))
        # the last image of a rank may be a duplicate, which evaluate() leaves out
        self._bin_last()
        self._bin(probability[:-1], label[:-1], pred[:-1])
        self._last = probability[-1:].copy(), label[-1:], pred[-1:]

    def _bin_last(self) -> None:
        if self._last is not None:
            self._bin(*self._last)
            self._last = None

    def _bin(self, probability: np.ndarray, label: np.ndarray, pred: np.ndarray) -> None:
        pred = pred if self.count_true_negatives else None
        bins = class_wise_calibration_bins(probability, label, self.num_bins, pred)
        self._class_bins = bins if self._class_bins is None else self._class_bins + bins

    # ------------------------------------------------------------------ figures

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the figures over all ranks.

        Args:
            size: Number of images in the test set.
        """
        rank, world_size = get_dist_info()
        surplus = len(self.results) - len(range(rank, size, world_size))  # 1 if the sampler added a duplicate
        if surplus > 1:
            raise InputError(
                f'Expected {len(self.results) - surplus} of {size} images on rank {rank} of {world_size}, or one more, '
                f'but got {len(self.results)}. Use DefaultSampler for evaluation.'
            )
        if surplus <= 0:
            self._bin_last()
        parts = [bins for bins in all_gather_object(self._class_bins) if bins is not None]
        self._class_bins = sum(parts[1:], parts[0]) if parts else None
        metrics = super().evaluate(size)
        self._class_bins = self._last = None
        return metrics

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Compute the figures; calibration errors in percent.

        Args:
            results: (label, prediction, confidence, negative log-likelihood, Brier score) per image, from all ranks.
        """
        label, pred, confidence, nll, brier, *scores = map(np.array, zip(*results))
        hit = pred == label  # (N,)
        self.bins = bins = calibration_bins(confidence, hit, self.num_bins)
        errors = dict(
            ece=expected_calibration_error(bins),
            mce=maximum_calibration_error(bins),
            oe=overconfidence_error(bins),
            sce=expected_calibration_error(self._class_bins),
            adaptive_ece=expected_calibration_error(adaptive_calibration_bins(confidence, hit, self.num_bins)),
        )
        for name, threshold in self.thresholds.items():
            probability = np.where(scores[0] < threshold, 0, scores[0])  # (N, C)
            bins = class_wise_adaptive_calibration_bins(
                probability, label, self.num_bins, pred if self.count_true_negatives else None
            )
            errors[name] = expected_calibration_error(bins)
        metrics = {name: 100 * error for name, error in errors.items()}
        metrics |= dict(nll=float(nll.mean()), brier=float(brier.mean()))
        for name, mask in self.shots.items() if self.shots else ():
            group = mask[label]  # (N,)
            if group.any():
                bins = calibration_bins(confidence[group], hit[group], self.num_bins)
                metrics[f'ece_{name}'] = 100 * expected_calibration_error(bins)
        write_to_log_folder(self.csv_name, self.bins.to_csv)
        return metrics


def _negative_log_likelihood_of_others(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of the negative labels of sigmoids (N, C), summed over the classes, (N,)."""
    negative = np.maximum(1 - probability, LOWEST_PROBABILITY)
    negative[np.arange(len(label)), label] = 1
    return -np.log(negative).sum(1)


def _as_probability(scores: np.ndarray, activation: str) -> np.ndarray:
    """Check the scores, (N, C), and clip rounding errors above 1."""
    total, low, high = scores.sum(1), scores.min(), scores.max()
    if activation == 'sigmoid':
        if low < 0 or high > 1:
            raise InputError(
                f'Expected `pred_score` to be sigmoids in [0, 1], but got values from {low:.4g} to {high:.4g}. '
                'Does the head predict logits?'
            )
        return scores
    if low < 0 or np.abs(total - 1).max() > SUM_TOLERANCE:
        raise InputError(
            'Expected `pred_score` to be probabilities that sum to 1 over the classes, but got sums from '
            f'{total.min():.4g} to {total.max():.4g} and a minimum of {low:.4g}. Does the head predict logits, or one '
            "sigmoid per class (activation='sigmoid')?"
        )
    return np.minimum(scores, 1) if high > 1 else scores
