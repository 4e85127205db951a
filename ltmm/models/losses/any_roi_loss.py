"""Any loss of a box head, of ltmm or mmdet, inside of another: what mmdet's heads would ask it, or do in its place."""

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


def cls_channels(loss: nn.Module, num_classes: int) -> int:
    """Width of the classifier."""
    return loss.get_cls_channels(num_classes) if getattr(loss, 'custom_cls_channels', False) else num_classes + 1


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
