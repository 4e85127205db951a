"""Many-, medium- and few-shot accuracy of tensors, in any training loop."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.utils.checks import check
from ltmm.utils.class_counts import is_by_name, missing_names_error, read_counts
from ltmm.utils.errors import InputError

from .functional import ClassScores, LongTailStatistics, predictions_and_ranks, shots_by_convention

__all__ = ['LongTailScores', 'long_tail_scores']

CHUNK = 4096  # images ranked at a time


class LongTailScores:
    """Accumulate the figures of :class:`ltmm.evaluation.LongTailMetric` over batches, as torchmetrics does.

    Only counts per class are kept. With ``torch.distributed``, :meth:`compute` adds them up over the ranks, so that
    every rank has to call it, and all get the figures of one process. A rank may have no images. PyTorch's
    ``DistributedSampler`` repeats images until all ranks have equally many; those would count twice. In a test,
    use ``DataLoader(test_set, sampler=range(rank, len(test_set), world_size))``.

    Args:
        counts: Training images per class, in label order: a list, array or tensor (C,), a
            :class:`ltmm.ClassDistribution`, a file of counts, or ``{class name: count}`` with ``class_names``.
        class_names: C names in label order, to put counts by name in this order.
        topk: Values of k for the top-k accuracy, of which those up to the number of classes are computed. Only top-1
            if :meth:`update` gets predicted labels.
        recall_floor: Lower bound of the recalls in the harmonic and the geometric mean.
        **grouping: ``convention``, ``thresholds``, ``num_many`` and ``num_few`` of
            :func:`ltmm.evaluation.shots_by_convention`. Default: many-shot classes have more than 100 training images,
            few-shot classes fewer than 20.

    Examples:
        >>> scores = LongTailScores([500, 50, 5])
        >>> scores.update(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> {name: round(value, 1) for name, value in scores.compute().items() if name in ('top1', 'many', 'medium')}
        {'top1': 66.7, 'many': 100.0, 'medium': 50.0}
    """

    def __init__(
        self,
        counts: Any,
        *,
        class_names: Sequence[str] | None = None,
        topk: int | Sequence[int] = (1, 5),
        recall_floor: float = 1e-3,
        **grouping: Any,
    ) -> None:
        check(topk=(topk, 'int >= 1'), recall_floor=(recall_floor, 'in (0, 1)'))
        self.distribution = _distribution(counts, class_names)
        self.shots = shots_by_convention(self.distribution, **grouping)
        self.topk = [k for k in np.atleast_1d(topk).tolist() if k <= len(self.distribution)]
        self.recall_floor = recall_floor
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        num_classes = len(self.distribution)
        self._per_class = torch.zeros(3, num_classes, dtype=torch.int64)  # support, predicted, hits
        self._top_hits = torch.zeros(len(self.topk), dtype=torch.int64)
        self._num_scored = torch.zeros(1, dtype=torch.int64)  # images with scores

    def update(self, scores: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> None:
        """Add a batch.

        Args:
            scores: Logits or probabilities, (N, C), or predicted labels, (N,).
            labels: Class indices, (N,).
        """
        scores, labels = torch.as_tensor(scores).detach(), torch.as_tensor(labels).detach()
        self._check_labels('labels', labels)
        if scores.dim() == 0 or len(scores) != len(labels):
            raise InputError(
                f'Expected as many `scores` as `labels`, {len(labels)}, but got shape {tuple(scores.shape)}.'
            )
        labels = labels.to(scores.device, torch.int64)
        if scores.dim() == 1:
            self._check_labels('scores', scores, ' (N,), or floating-point scores (N, C)')
            self._count(scores.long(), labels)
            return
        if scores.dim() != 2 or scores.size(1) != len(self.distribution) or not scores.is_floating_point():
            raise InputError(
                f'Expected `scores` to be floating-point of shape (N, {len(self.distribution)}), one per class in '
                f'`counts`, but got {scores.dtype} of shape {tuple(scores.shape)}.'
            )
        if broken := int(scores.isnan().any(1).sum()):
            raise InputError(f'Expected finite scores, but those of {broken} of {len(scores)} images have NaN.')
        for part, label in zip(scores.split(CHUNK), labels.split(CHUNK)):
            pred, rank = predictions_and_ranks(part, label)
            self._count(pred, label)
            self._top_hits += torch.stack([(rank < k).sum() for k in self.topk]).cpu() if self.topk else 0
            self._num_scored += len(label)

    def compute(self) -> dict[str, float]:
        """Return the figures over all images of all ranks, in percent; a group without test images is left out."""
        sums = self._sums()
        all_reduce(sums)  # in place; does nothing without torch.distributed
        return self._figures(sums)

    def _sums(self) -> Tensor:
        return torch.cat([self._num_scored, self._top_hits, self._per_class.flatten()])

    def _figures(self, sums: Tensor) -> dict[str, float]:
        num_scored, *hits = sums[: 1 + len(self.topk)].tolist()
        scores = ClassScores(*sums[1 + len(self.topk) :].view(3, -1).numpy())
        num_images = int(scores.support.sum())
        if not num_images:
            raise InputError('Expected at least one image, but got none: call update(scores, labels) first.')
        if 0 < num_scored < num_images:
            raise InputError(
                f'Expected scores of all images or of none, but got them for {num_scored} of {num_images}; the others '
                'have predicted labels.'
            )
        hits = dict(zip(self.topk, hits)) if num_scored else {1: int(scores.hits.sum())}
        return LongTailStatistics(scores, hits).figures(self.shots, self.recall_floor)

    def _count(self, pred: Tensor, label: Tensor) -> None:
        num_classes = len(self.distribution)
        counts = (torch.bincount(values, minlength=num_classes) for values in (label, pred, label[pred == label]))
        self._per_class += torch.stack([*counts]).cpu()

    def _check_labels(self, name: str, labels: Tensor, expected: str = ' (N,)') -> None:
        num_classes = len(self.distribution)
        if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise InputError(
                f'Expected `{name}` to be class indices{expected}, but got {labels.dtype} of shape '
                f'{tuple(labels.shape)}.'
            )
        if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
            raise InputError(
                f'Expected `{name}` in [0, {num_classes}), the classes in `counts`, but got values from '
                f'{int(labels.min())} to {int(labels.max())}.'
            )


def long_tail_scores(
    scores: Tensor | np.ndarray, labels: Tensor | np.ndarray, counts: Any, **options: Any
) -> dict[str, float]:
    """Compute the figures of :class:`ltmm.evaluation.LongTailMetric` of a test set, in percent.

    Of these tensors alone, also where ``torch.distributed`` runs; :class:`LongTailScores` adds up the ranks.

    Args:
        scores: Logits or probabilities, (N, C), or predicted labels, (N,).
        labels: Class indices, (N,).
        counts: Training images per class, see :class:`LongTailScores`.
        **options: See :class:`LongTailScores`.

    Examples:
        >>> figures = long_tail_scores([0, 1, 2, 0], [0, 1, 2, 2], counts=[500, 50, 5])
        >>> figures['many'], figures['few'], figures['lowest_recall']
        (100.0, 50.0, 50.0)
    """
    metric = LongTailScores(counts, **options)
    metric.update(scores, labels)
    return metric._figures(metric._sums())  # of this process alone


def _distribution(counts: Any, class_names: Sequence[str] | None) -> ClassDistribution:
    """Read counts of any kind; the order of a dictionary says nothing about the labels."""
    if isinstance(counts, Tensor):
        counts = counts.cpu().numpy()
    counts = read_counts(counts)
    if isinstance(counts, Mapping) and is_by_name(counts) and class_names is None:
        raise missing_names_error('`class_names`')
    return ClassDistribution.build(counts, class_names)
