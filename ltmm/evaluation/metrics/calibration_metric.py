"""Whether a classifier is as sure as it is right, for the head and the tail apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import MMLogger

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
from ltmm.registry import METRICS

from .shot_metric import EMPTY_GROUP, ShotMetric

__all__ = ['CalibrationMetric']

ACTIVATIONS = ('sigmoid', 'softmax')
SUM_TOLERANCE = 1e-2  # probabilities in bfloat16 sum to 1 only so far


@METRICS.register_module()
class CalibrationMetric(ShotMetric):
    """How far the confidences of a single-label classifier are from its accuracy; balanced methods often end unsure.

    The calibration errors are in percent. Bins are of equal width and (l, u], unless said otherwise:

    =====================  =========================================================================================
    ``ece``, ``mce``       mean and largest gap between confidence and accuracy of the bins (ECE, MCE)
    ``oe``                 confidence times overconfidence of the bins (OE)
    ``sce``                ECE of the probabilities of each class, mean over the classes (static or class-wise ECE)
    ``adaptive_ece``       ECE with equally many images in each bin
    ``ace``, ``tace``      SCE with equally many images in each bin, and with small probabilities left out; on request
    ``nll``, ``brier``     mean negative log-likelihood; mean squared distance from the truth; no percent
    ``ece_many`` ...       ECE of the images whose true class is many-, medium- or few-shot, where the class
                           distribution is known; -1 for a group without a test image
    =====================  =========================================================================================

    Kept are five numbers an image, the sums of the bins of each class, (C, B), and the scores of one image. From all
    ranks, the numbers are gathered as MMEngine does, and the sums added up; the images with which ``DefaultSampler``
    filled up its last round are in neither: the figures are those of one process.

    It takes ``pred_score``, the probabilities of the head: of a softmax, or, with ``activation='sigmoid'``, of one
    sigmoid a class, which ``ltmm.LongTailClsHead`` gives where the loss is of sigmoids (``ltmm.SigmoidFocalLoss``, or
    ``ltmm.ClassBalancedLoss`` of type sigmoid or focal). The likelihood of an image is then that of all C answers, yes
    for its class and no for the others.

    Args:
        num_bins: B.
        activation: ``'softmax'``, scores that sum to 1, which is checked, or ``'sigmoid'``, scores in [0, 1].
        ace: also ACE, for which the scores of all images, (N, C), are kept and gathered.
        tace_threshold: also TACE, that is ACE without the probabilities below this, 0.01 in the paper; keeps the scores
            of all images.
        count_true_negatives: in SCE, ACE and TACE, compare the probability of a class not with how often it is the true
            one, but with how often prediction and truth agree about it, as BalPoE's code does. That is near 1 for many
            classes, whatever the classifier; for comparison with its figures only.
        diagram_name: file of the reliability diagram (.png, .pdf, .svg), beside the log, overwritten by the next
            evaluation; None for none.
        convention: see :class:`ltmm.evaluation.LongTailMetric`, as the following ones.
        thresholds: other borders than 100 and 20 images, as (many, few).
        num_many: number of many-shot classes, with ``'mislas'``.
        num_few: number of few-shot classes, with ``'mislas'``.
        class_counts: training images per class; they stay when the hook brings others.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: of the names of the figures.

    Raises:
        ClassDistributionError: a number of classes that is not that of the test set.
        ValueError: an unknown ``activation``; labels out of range, scores that are NaN or not what ``activation`` says,
            more than one label an image.
    """

    default_prefix = 'calibration'

    def __init__(
        self,
        num_bins: int = 15,
        activation: str = 'softmax',
        ace: bool = False,
        tace_threshold: float | None = None,
        count_true_negatives: bool = False,
        diagram_name: str | None = None,
        convention: str = 'decoupling',
        thresholds: Sequence[int] | None = None,
        num_many: int | None = None,
        num_few: int | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(convention, thresholds, num_many, num_few, class_counts, collect_device, prefix)
        if num_bins < 1:
            raise ValueError(f'Expected `num_bins` to be positive, but got {num_bins}.')
        if tace_threshold is not None and not 0 < tace_threshold < 1:
            raise ValueError(f'Expected `tace_threshold` to be in (0, 1), but got {tace_threshold}.')
        if activation not in ACTIVATIONS:
            raise ValueError(f'Expected `activation` to be one of {list(ACTIVATIONS)}, but got {activation!r}.')
        self.num_bins, self.activation = num_bins, activation
        self.ace = ace
        self.tace_threshold = tace_threshold
        self.count_true_negatives = count_true_negatives
        self.diagram_name = diagram_name
        self.bins: CalibrationBins | None = None  # of the predictions of the last evaluation, on the first rank
        self._class_bins: CalibrationBins | None = None
        self._last: tuple[np.ndarray, ...] | None = None  # probabilities (1, C), label, prediction not yet in a bin

    # ------------------------------------------------------------------ batches

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep (label, prediction, confidence, negative log-likelihood, Brier score) of each image, and fill the bins.

        Args:
            data_batch: not used.
            data_samples: what the model gives, with ``gt_label`` (1,) and ``pred_score`` (C,).
        """
        label = self._labels(data_samples, 'gt_label').cpu()  # (N,)
        scores = self._scores(data_samples)  # (N, C)
        self._refuse_broken(scores.sum(1).isnan(), data_samples)
        self._refuse_outside(label, 'gt_label', scores.size(1), data_samples)
        probability, label = _probabilities(scores.cpu().double().numpy(), self.activation), label.numpy()
        pred = probability.argmax(1)  # of equal scores the first counts, as in LongTailMetric
        nll, brier = negative_log_likelihood(probability, label), brier_score(probability, label)
        if self.activation == 'sigmoid':
            nll = nll + _surprise_of_no(probability, label)
        figures = [array.tolist() for array in (label, pred, probability.max(1), nll, brier)]
        if self.ace or self.tace_threshold is not None:
            figures.append(probability if scores.dtype == torch.float64 else probability.astype(np.float32))
        self.results.extend(zip(*figures))
        self._bin_last()
        self._bin(probability[:-1], label[:-1], pred[:-1])
        self._last = probability[-1:].copy(), label[-1:], pred[-1:]

    def _bin_last(self) -> None:
        if self._last is not None:
            self._bin(*self._last)
            self._last = None

    def _bin(self, probability: np.ndarray, label: np.ndarray, pred: np.ndarray) -> None:
        bins = class_wise_calibration_bins(probability, label, self.num_bins, self._compared(pred))
        self._class_bins = bins if self._class_bins is None else self._class_bins + bins

    def _compared(self, pred: np.ndarray) -> np.ndarray | None:
        return pred if self.count_true_negatives else None

    # ------------------------------------------------------------------ figures

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures of all images of all ranks.

        Args:
            size: images in the test set.

        Raises:
            ValueError: more images than a sampler like ``DefaultSampler`` would have given this rank.
        """
        rank, world_size = get_dist_info()
        surplus = len(self.results) - len(range(rank, size, world_size))  # 1: the last image filled up the last round
        if surplus > 1:
            raise ValueError(
                f'Expected rank {rank} of {world_size} to evaluate {len(self.results) - surplus} of {size} images and '
                f'at most one more, but it was given {len(self.results)}. Use DefaultSampler for evaluation.'
            )
        if surplus <= 0:
            self._bin_last()
        parts = [bins for bins in all_gather_object(self._class_bins) if bins is not None]
        self._class_bins = sum(parts[1:], parts[0]) if parts else None
        metrics = super().evaluate(size)
        self._class_bins = self._last = None
        return metrics

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """The figures; calibration errors in percent.

        Args:
            results: (label, prediction, confidence, negative log-likelihood, Brier score) of all images of all ranks.
        """
        if not results:
            raise ValueError('CalibrationMetric: the test set is empty.')
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
        thresholds = dict(ace=0.0 if self.ace else None, tace=self.tace_threshold)
        for name, threshold in thresholds.items():
            if threshold is not None:
                probability = np.where(scores[0] < threshold, 0, scores[0])  # (N, C)
                errors[name] = expected_calibration_error(
                    class_wise_adaptive_calibration_bins(probability, label, self.num_bins, self._compared(pred))
                )
        metrics = {name: 100 * error for name, error in errors.items()}
        metrics |= dict(nll=float(nll.mean()), brier=float(brier.mean()))
        for name, mask in self.shots.items() if self.shots else ():
            group = mask[label]  # (N,)
            part = calibration_bins(confidence[group], hit[group], self.num_bins)
            metrics[f'ece_{name}'] = 100 * expected_calibration_error(part) if group.any() else EMPTY_GROUP
        self._draw()
        return metrics

    def _draw(self) -> None:
        """The reliability diagram, beside the log."""
        logger = MMLogger.get_current_instance()
        if self.diagram_name is None or logger.log_file is None:
            return
        from ltmm.visualization import plot_reliability_diagram  # imports matplotlib, and ltmm.evaluation

        path = Path(logger.log_file).parent / self.diagram_name
        try:
            plot_reliability_diagram(self.bins, path)
        except OSError as e:
            logger.warning(f'Cannot write the reliability diagram to {path}: {e.strerror}.')


def _surprise_of_no(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of no for all classes but the label, (N,), of sigmoids (N, C)."""
    no = np.maximum(1 - probability, LOWEST_PROBABILITY)
    no[np.arange(len(label)), label] = 1
    return -np.log(no).sum(1)


def _probabilities(scores: np.ndarray, activation: str) -> np.ndarray:
    """The scores, (N, C), cleared of rounding above 1.

    Raises:
        ValueError: scores outside [0, 1], or, of a softmax, that do not sum to 1.
    """
    total, lowest = scores.sum(1), scores.min()
    if activation == 'sigmoid':
        if lowest < 0 or scores.max() > 1:
            raise ValueError(
                'Expected `pred_score` to be sigmoids in [0, 1], but those of this batch lie between '
                f'{lowest:.4g} and {scores.max():.4g}. Does the head give logits?'
            )
        return scores
    if lowest < 0 or np.abs(total - 1).max() > SUM_TOLERANCE:
        raise ValueError(
            'Expected `pred_score` to be probabilities that sum to 1 over the classes, but those of this batch sum to '
            f'{total.min():.4g} to {total.max():.4g} and the lowest is {lowest:.4g}. Calibration is of '
            "probabilities; does the head give logits, or one sigmoid a class (activation='sigmoid')?"
        )
    return np.minimum(scores, 1) if scores.max() > 1 else scores
