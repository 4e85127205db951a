"""Strength of augmentation per class, for CUDA."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from .sample_table import SampleTable

__all__ = ['CurriculumLevels', 'next_levels']


def next_levels(levels: Tensor, correct: Tensor, drawn: Tensor, threshold: float, max_level: int) -> Tensor:
    """Raise the level of each class that passes at all strengths up to its level, lower the others; (C,).

    Args:
        levels: Present level of each class, integers, (C,).
        correct: Correct predictions of each class at each strength, (C, S).
        drawn: Images of each class at each strength, 0 above its level, (C, S).
        threshold: Accuracy that has to be exceeded.
        max_level: Highest level; the lowest is 0.
    """
    passes = (correct / drawn.clamp(min=1) > threshold) | (drawn == 0)  # (C, S)
    passes = passes.all(dim=1) & (drawn > 0).any(dim=1)  # a class without images stays at 0
    return (levels + torch.where(passes, 1, -1)).clamp(0, max_level)


class CurriculumLevels(SampleTable):
    """The level of each class, equal on all ranks; read by ``ltmm.CurriculumAugment``.

    Args:
        num_classes: C; 0 where :meth:`resize` or a checkpoint brings it.

    Attributes:
        values: Levels, int64, (C,).
    """

    def __init__(self, num_classes: int = 0) -> None:
        super().__init__(num_classes, dtype=torch.int64)

    @torch.no_grad()
    def update(self, correct: Tensor, drawn: Tensor, threshold: float, max_level: int) -> None:
        """Change the levels by the counts of all ranks, also in evaluation mode; see :func:`next_levels`.

        Args:
            correct: Counts of this rank, float64, (C, S).
            drawn: Counts of this rank, float64, (C, S).
            threshold: Accuracy that has to be exceeded.
            max_level: Highest level.
        """
        counts = torch.stack([correct, drawn]).to(self.values.device)
        all_reduce(counts)
        self.values.copy_(next_levels(self.values, *counts, threshold, max_level))
