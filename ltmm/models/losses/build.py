"""Losses that another loss wraps: modules of any loop, or configs."""

import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

from .base import ClassificationLoss

__all__ = ['TorchCrossEntropy', 'build_loss']


class TorchCrossEntropy(ClassificationLoss):
    """PyTorch's cross entropy with the arguments of the losses of ltmm.

    Args:
        loss: The module; its reduction, label smoothing and ignored index are kept.
    """

    accepts_soft_labels = True

    def __init__(self, loss: nn.CrossEntropyLoss) -> None:
        if loss.weight is not None:
            raise InputError(
                'Expected nn.CrossEntropyLoss without `weight` in another loss, which weights the samples.'
            )
        super().__init__(reduction=loss.reduction)
        self.label_smoothing, self.ignore_index = loss.label_smoothing, loss.ignore_index

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        options = dict(reduction='none', label_smoothing=self.label_smoothing)
        if label.dim() == 2:
            return F.cross_entropy(cls_score, label.to(cls_score), **options)
        return F.cross_entropy(cls_score, label, ignore_index=self.ignore_index, **options)


def build_loss(loss: nn.Module | dict) -> nn.Module:
    """Return the loss that another one wraps: a module as it is, ``nn.CrossEntropyLoss`` adapted, a config built."""
    if isinstance(loss, nn.CrossEntropyLoss):
        return TorchCrossEntropy(loss)
    if isinstance(loss, nn.Module):
        return loss
    if not isinstance(loss, dict):
        raise InputTypeError(f'Expected `loss` to be a module or a config, dict(type=...), but got {loss!r}.')
    return MODELS.build(loss)
