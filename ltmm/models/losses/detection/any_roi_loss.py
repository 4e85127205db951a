"""Any loss of a box head, of ltmm or mmdet, inside of another: what mmdet's heads would ask it, or do in its place."""

import copy

import torch
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['build_roi_loss', 'cls_channels', 'roi_accuracy', 'roi_scores']


def build_roi_loss(cfg: dict, owner: str) -> nn.Module:
    """The loss.

    Args:
        cfg: its config.
        owner: what it is built for, for the message.

    Raises:
        TypeError: it trains sigmoids, but mmdet's box heads would take a softmax.
    """
    loss = MODELS.build(cfg)
    if getattr(loss, 'use_sigmoid', False) and not getattr(loss, 'custom_cls_channels', False):
        raise TypeError(
            f"{owner}: {type(loss).__name__} trains sigmoids, but mmdet's box heads would take a softmax of them. "
            'Use ltmm.SigmoidCrossEntropyLoss, ltmm.EQLv2Loss or ltmm.EQLLoss.'
        )
    return loss


def cls_channels(loss: nn.Module, num_classes: int, owner: str) -> int:
    """Width of the classifier. Two made-up proposals show whether the loss is one of box heads.

    Args:
        loss: the loss.
        num_classes: C.
        owner: what the loss is built for, for the message.

    Raises:
        TypeError: the loss does not take logits and labels, or its scores are not (N, C + 1).
    """
    name = type(loss).__name__
    try:
        custom = getattr(loss, 'custom_cls_channels', False)
        width = loss.get_cls_channels(num_classes) if custom else num_classes + 1
        logits, label = torch.zeros(2, width), torch.tensor([0, num_classes])
        trial = copy.deepcopy(loss)  # it may count what it sees
        shape = tuple(roi_scores(trial, logits).shape)
        if not hasattr(loss, 'fits'):  # those that have it are checked by ltmm.models.fits, and may lack the counts yet
            trial(logits, label, torch.ones(2), avg_factor=2.0)
    except (AssertionError, IndexError, RuntimeError, TypeError) as error:
        raise TypeError(
            f'{owner}: {name} is no loss of a box head of {num_classes} classes: given logits (N, {num_classes} or '
            f'more) and labels (N,) it raises {type(error).__name__}({error}).'
        ) from error
    if shape != (2, num_classes + 1):
        raise TypeError(
            f'{owner}: expected the scores of {name} to be (N, {num_classes + 1}), {num_classes} classes and '
            f'background, but got (N, {", ".join(map(str, shape[1:]))}): mmdet takes off the last column.'
        )
    return width


def roi_scores(loss: nn.Module, cls_score: Tensor) -> Tensor:
    """Scores (N, C + 1), the last of background, of logits (N, width)."""
    return loss.get_activation(cls_score) if getattr(loss, 'custom_cls_channels', False) else cls_score.softmax(-1)


def roi_accuracy(loss: nn.Module, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Accuracy in percent.

    Args:
        loss: the loss.
        cls_score: logits, (N, width).
        labels: class indices, (N,); C is background.
    """
    if getattr(loss, 'custom_activation', False):
        return loss.get_accuracy(cls_score, labels)
    return dict(acc=100 * (cls_score.argmax(1) == labels).sum() / max(len(labels), 1))
