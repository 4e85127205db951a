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
        loss: The module; its reduction and label smoothing are kept.
        loss_weight: Weight of the loss.
    """

    accepts_soft_labels = True

    def __init__(self, loss: nn.CrossEntropyLoss, loss_weight: float = 1.0) -> None:
        if loss.weight is not None or loss.ignore_index >= 0:
            raise InputError(
                'Expected nn.CrossEntropyLoss without `weight` and `ignore_index` in another loss, which weights the '
                'samples.'
            )
        super().__init__(loss_weight=loss_weight, reduction=loss.reduction)
        self.label_smoothing = loss.label_smoothing

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        label = label.to(cls_score) if label.dim() == 2 else label
        return F.cross_entropy(cls_score, label, reduction='none', label_smoothing=self.label_smoothing)


def build_loss(loss: nn.Module | dict) -> nn.Module:
    """Return the loss that another one wraps: a module as it is, ``nn.CrossEntropyLoss`` adapted, a config built."""
    if type(loss) is nn.CrossEntropyLoss:  # a subclass may compute something else
        return TorchCrossEntropy(loss)
    if isinstance(loss, nn.Module):
        return loss
    if not isinstance(loss, dict):
        raise InputTypeError(f'Expected `loss` to be a module or a config, dict(type=...), but got {loss!r}.')
    return MODELS.build(loss)
