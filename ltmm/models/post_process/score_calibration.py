"""Base class of the calibrations that map probabilities to probabilities."""

from typing import Any

import torch
from torch import Tensor, nn

from ltmm.utils.errors import InputTypeError, MissingInputError

from .base import PostProcess
from .search import uses_sigmoid

__all__ = ['ScoreCalibration']

LOWEST = 1e-20  # probability, as in the code of IWTS


class ScoreCalibration(PostProcess):
    """Base class of the calibrations that map probabilities to probabilities.

    The corrected logits are the logarithms of the new probabilities. The softmax of the head gives these back, divided
    by their sum if that is not 1. They are float64, in which nearly equal scores keep their order. A subclass defines
    :meth:`fit_scores`, which fills its buffers, empty until then, and :meth:`calibrate`.
    """

    needs_fit = True
    keeps_state = True
    val_mix = 'test'

    def fit_scores(self, cls_score: Tensor, label: Tensor) -> None:
        """Fit to validation data.

        Args:
            cls_score: Logits, float64, (N, C).
            label: Class indices, (N,).
        """
        raise NotImplementedError(f'{type(self).__name__} must define fit_scores(cls_score, label).')

    def calibrate(self, cls_score: Tensor) -> Tensor:
        """Calibrated probabilities of logits, (N, C)."""
        raise NotImplementedError(f'{type(self).__name__} must define calibrate(cls_score).')

    def fit(self, train: Any, val: Any) -> None:
        """Fit to the validation split."""
        self.fit_scores(val.logits.double(), val.label)

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        if any(buffer.numel() == 0 for buffer in self.buffers()):
            raise MissingInputError(
                f'{type(self).__name__} is not fitted. Load a checkpoint written by tools/post_process.py.'
            )
        with torch.autocast(cls_score.device.type, enabled=False):
            return self.calibrate(cls_score.double()).clamp(min=LOWEST).log()

    def check(self, head: nn.Module) -> None:
        if uses_sigmoid(head):
            raise InputTypeError(f'{type(self).__name__} is for a softmax, but the loss of this head uses sigmoids.')
