"""Which strength of a correction does best on validation data."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.evaluation.functional import class_scores
from ltmm.models.losses.classification.sigmoid_focal_loss import sigmoid_focal_loss

from .base import PostProcess

__all__ = ['OBJECTIVES', 'objective_value', 'search_strength']

OBJECTIVES = ('balanced_accuracy', 'nll', 'top1')


def objective_value(objective: str, cls_score: Tensor, label: Tensor, use_sigmoid: bool = False) -> float:
    """The figure a search looks at: in percent, or, for ``'nll'``, the mean negative log-likelihood, in nats.

    Args:
        objective: ``'balanced_accuracy'`` (mean recall of the classes that have samples), ``'top1'`` or ``'nll'``.
        cls_score: logits, (N, C).
        label: (N,).
        use_sigmoid: the likelihood is of one sigmoid a class, yes for the label and no for the others.

    Raises:
        ValueError: an unknown objective.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f'Expected `objective` to be one of {list(OBJECTIVES)}, but got {objective!r}.')
    if objective == 'nll' and use_sigmoid:
        return float(sigmoid_focal_loss(cls_score, label, gamma=0).mean())
    if objective == 'nll':
        return float(F.cross_entropy(cls_score, label))
    scores = class_scores(cls_score.argmax(1).numpy(), label.numpy(), cls_score.size(1))
    return 100 * (scores.accuracy if objective == 'top1' else float(scores.recall[scores.tested].mean()))


@torch.no_grad()
def search_strength(
    step: PostProcess,
    cls_score: Tensor,
    features: Tensor,
    label: Tensor,
    head: nn.Module,
    strengths: Sequence[float],
    objective: str,
) -> np.ndarray:
    """Try every strength on the same logits, leave ``step`` at the best one, and give the value of each, (S,).

    Args:
        step: the correction; of equally good strengths it gets the first.
        cls_score: logits of the validation data, (N, C).
        features: (N, D).
        label: (N,).
        head: the head that gave the logits.
        strengths: what to try, (S,).
        objective: see :func:`objective_value`.

    Raises:
        ValueError: ``step`` has no strength, or an unknown objective.
    """
    if step.strength is None:
        raise ValueError(f'{type(step).__name__} has no strength to search.')
    values = []
    for strength in strengths:
        setattr(step, step.strength, float(strength))
        score = step(cls_score, features, head)
        values.append(objective_value(objective, score, label, getattr(head, 'use_sigmoid', False)))
    best = int(np.argmin(values) if objective == 'nll' else np.argmax(values))
    setattr(step, step.strength, float(strengths[best]))
    return np.array(values)
