"""Base classes of batch augmentations that know the progress of the training and the class distribution."""

import math
from collections.abc import Sequence

import torch
from mmengine.registry import Registry
from mmpretrain.registry import BATCH_AUGMENTS as MMPRETRAIN_BATCH_AUGMENTS
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.models.state.progress import UsesProgress
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['BATCH_AUGMENTS', 'BatchAugment', 'PriorBatchAugment', 'mix_rows']

BATCH_AUGMENTS = Registry(
    'batch augment', parent=MMPRETRAIN_BATCH_AUGMENTS, scope='ltmm', locations=['ltmm.models.batch_augments']
)


def mix_rows(rows: Tensor, partners: Tensor, share: Tensor | float) -> Tensor:
    """Return ``share * rows + (1 - share) * partners``.

    Args:
        rows: (N, ...).
        partners: (N, ...).
        share: Of each row, (N,), or of all rows.
    """
    if isinstance(share, Tensor):
        share = share.to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    return share * rows + (1 - share) * partners


class BatchAugment(UsesProgress, nn.Module):
    """Base class of batch augmentations: a subclass mixes images and labels in :meth:`mix`.

    The labels become soft, (N, C); a loss that takes only class indices refuses them. Each rank mixes its own images,
    by its own random numbers. Several augmentations and their probabilities are given as for mmpretrain's ``Mixup``.

    Args:
        alpha: Random shares come from Beta(alpha, alpha).
        start: Share of the epochs before the first with mixing, rounded up.
        end: Share of the epochs up to the last with mixing, rounded down.

    Attributes:
        num_views: V, views of each image that are mixed.
    """

    num_views = 1

    def __init__(self, *, alpha: float = 1.0, start: float = 0.0, end: float = 1.0) -> None:
        check(alpha=(alpha, '> 0'), start=(start, 'in [0, 1]'), end=(end, 'in [0, 1]'))
        if start >= end:
            raise InputError(f'Expected `start` below `end`, but got {start=} and {end=}.')
        super().__init__()
        self.alpha, self.start, self.end = alpha, start, end

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images, (V N, 3, H, W), and labels, (N, C), float32."""
        raise NotImplementedError(f'{type(self).__name__} must define mix(inputs, score).')

    def forward(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch in the epochs from ``start`` to ``end``; leave it as it is in the others.

        Args:
            inputs: Normalized images, (V N, 3, H, W), view-major.
            score: One-hot labels, (N, C).
        """
        if len(inputs) != self.num_views * len(score):
            raise InputError(
                f'{type(self).__name__} mixes {self.num_views} view(s) of each image, but got {len(inputs)} images '
                f'with {len(score)} labels.'
            )
        return self.mix(inputs, score.float()) if self._is_on() else (inputs, score.float())

    def too_short(self, max_epochs: int) -> str | None:
        if not self._epochs(max_epochs):
            return f'never mixes: no epoch of the {max_epochs} lies from start={self.start} to end={self.end}.'

    def _is_on(self) -> bool:
        return (self.start, self.end) == (0, 1) or self.epoch in self._epochs(self.max_epochs)

    def _epochs(self, max_epochs: int) -> range:
        first, stop = (round(share * max_epochs, 6) for share in (self.start, self.end))
        return range(math.ceil(first), math.floor(stop))

    def extra_repr(self) -> str:
        return f'alpha={self.alpha}, start={self.start}, end={self.end}'


class PriorBatchAugment(UsesClassDistribution, BatchAugment):
    """Base class of batch augmentations that depend on the class distribution, which comes as for losses.

    Args:
        alpha: See :class:`BatchAugment`.
        start: See :class:`BatchAugment`.
        end: See :class:`BatchAugment`.
        class_counts: Training images per class, a list or ``{class name: count}``. Default: taken from the training
            data. Checkpoints do not hold them.
    """

    def __init__(
        self,
        *,
        alpha: float,
        start: float = 0.0,
        end: float = 1.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__(alpha=alpha, start=start, end=end)
        self.init_class_distribution(class_counts, persistent=False)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the class counts."""
        if distribution.instance_counts.sum() > distribution.num_images:
            raise InputError(f'{type(self).__name__} needs one label per image, but the training images have several.')
        self.register_derived('counts', distribution.instance_counts.clip(min=1))

    def counts_of(self, score: Tensor) -> Tensor:
        """Return the number of training images of the class of each image, float64, (N,).

        Args:
            score: One-hot labels, (N, C).
        """
        self.check_logits(score)
        return self.counts.to(score.device)[torch.argmax(score, dim=1)]
