"""Objectives of the search for the strength of a correction."""

import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.evaluation.functional import class_scores
from ltmm.models.heads.base import ScoresMixin
from ltmm.models.losses.classification.sigmoid_focal_loss import sigmoid_focal_loss
from ltmm.utils.checks import check

__all__ = ['LOWER_IS_BETTER', 'OBJECTIVES', 'objective_value', 'uses_sigmoid']

OBJECTIVES = ('balanced_accuracy', 'nll', 'top1')
LOWER_IS_BETTER = ('nll',)


def uses_sigmoid(head: nn.Module) -> bool:
    """Whether the scores of a classification head are one sigmoid per class, not a softmax."""
    return isinstance(head, ScoresMixin) and head.use_sigmoid


def objective_value(objective: str, cls_score: Tensor, label: Tensor, use_sigmoid: bool = False) -> float:
    """Return the value of an objective: a percentage, or, for ``'nll'``, the mean negative log-likelihood.

    Args:
        objective: ``'balanced_accuracy'`` (mean recall of the classes that have samples), ``'top1'`` or ``'nll'``.
        cls_score: Logits, (N, C).
        label: Class indices, (N,).
        use_sigmoid: Whether the likelihood is that of one sigmoid per class.
    """
    check(objective=(objective, OBJECTIVES))
    if objective == 'nll':
        return float(
            sigmoid_focal_loss(cls_score, label, gamma=0).mean() if use_sigmoid else F.cross_entropy(cls_score, label)
        )
    scores = class_scores(cls_score.argmax(1).numpy(), label.numpy(), cls_score.size(1))
    return 100 * (scores.accuracy if objective == 'top1' else float(scores.recall[scores.tested].mean()))
