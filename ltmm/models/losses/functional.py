"""Formulas that several losses share."""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ['positives', 'power', 'sigmoid_focal', 'smooth_labels', 'tail_classes']


def sigmoid_focal(wrong: Tensor, gamma: float | Tensor) -> Tensor:
    r"""Compute the focal loss :math:`(1 - p)^\gamma (-\log p) = \sigma(x)^\gamma \, \mathrm{softplus}(x)`, elementwise.

    Value and gradient are finite for any logit and any gamma.

    Args:
        wrong: Logits x of the wrong answer: -z for a positive, z for a negative.
        gamma: Focusing strength, one or one of each class, (C,); 0 gives binary cross entropy.
    """
    cost = F.softplus(wrong)
    if not isinstance(gamma, Tensor) and gamma == 0:
        return cost
    return cost * (wrong - cost).mul_(gamma).exp_()  # log sigmoid(x) = x - softplus(x)


def positives(label: Tensor, num_classes: int) -> Tensor:
    """Return which entry of each row is that of the label, bool, (N, C).

    Args:
        label: Class indices, (N,); C or more, background, for none.
        num_classes: C.
    """
    return label.unsqueeze(1) == torch.arange(num_classes, device=label.device)


def power(base: Tensor, exponent: float) -> Tensor:
    """Compute ``base ** exponent`` of base >= 0, with a finite gradient at 0."""
    if exponent == 4:
        return base.square().square()  # several times faster
    return base.clamp(min=torch.finfo(base.dtype).tiny) ** exponent if 0 < exponent < 1 else base**exponent


def smooth_labels(label: Tensor, smoothing: float, like: Tensor) -> Tensor:
    r"""Return soft labels :math:`(1 - \epsilon) \, y + \epsilon / C`, (N, C), in the dtype of the logits.

    Args:
        label: Class indices, (N,), or soft labels, (N, C).
        smoothing: Epsilon, in [0, 1).
        like: Logits, (N, C).
    """
    num_classes = like.size(1)
    label = (F.one_hot(label, num_classes) if label.dim() == 1 else label).to(like)
    return label if smoothing == 0 else (1 - smoothing) * label + smoothing / num_classes


def tail_classes(frequency: np.ndarray, lambda_: float, loss: nn.Module, unit: str = 'image_frequency') -> np.ndarray:
    """Return which classes the equalization losses take as tail, bool, (C,); warn if all are or none is.

    Args:
        frequency: Frequency of each class, (C,).
        lambda_: Frequency below which classes are tail classes.
        loss: The loss, for the message.
        unit: Name of the frequency, for the message.
    """
    is_tail = frequency < lambda_
    if is_tail.all() or not is_tail.any():
        warnings.warn(
            f'{type(loss).__name__}(lambda_={lambda_}): {is_tail.sum()} of {len(is_tail)} classes are tail classes, '
            f'with `{unit}` between {frequency.min():.3g} and {frequency.max():.3g}: choose `lambda_` between these.',
            stacklevel=2,
        )
    return is_tail
