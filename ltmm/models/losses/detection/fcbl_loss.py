"""FCBL, foreground classification balance loss: margins between classes that are confused with each other."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ltmm.models.state.progress import UsesProgress
from ltmm.models.state.running_sums import RunningConfusion
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import at_least_float32
from .base import DetectionLoss

__all__ = ['FCBLLoss', 'confusion_margins', 'counted_columns', 'fcbl_loss']


def confusion_margins(confusion: Tensor, alpha: float, eps: float = 1e-3) -> Tensor:
    r"""Return the margins :math:`\alpha \log \frac{\max(M_{lk}, \epsilon)}{\max(M_{kl}, \epsilon)}`, (C + 1, C + 1).

    Those of background are 0.

    Args:
        confusion: M, the mean score of objects of class l for class k, (C, C).
        alpha: Strength of the margins.
        eps: Lower bound of M.
    """
    log_confusion = confusion.clamp(min=eps).log()
    return F.pad(alpha * (log_confusion - log_confusion.T), (0, 1, 0, 1))


def counted_columns(cls_score: Tensor, label: Tensor, prob_thr: float) -> Tensor:
    r"""Return which columns count in the loss of each proposal, (N, C + 1).

    For background, all. For objects, that of background, and those whose score :math:`\sigma(z_k) (1 - \sigma(z_C))` is
    at least that of the label or ``prob_thr``.

    Args:
        cls_score: Logits z, (N, C + 1).
        label: Class indices, (N,); C is background.
        prob_thr: Score from which a column always counts.
    """
    num_classes = cls_score.size(1) - 1
    prob = cls_score.detach().sigmoid()
    prob = prob[:, :-1] * (1 - prob[:, -1:])  # (N, C)
    own = prob.gather(1, label.clamp(max=num_classes - 1).unsqueeze(1))
    counts = (prob >= own) | (prob >= prob_thr) | (label == num_classes).unsqueeze(1)
    return F.pad(counts, (0, 1), value=True)


def fcbl_loss(cls_score: Tensor, label: Tensor, margins: Tensor, prob_thr: float | None) -> Tensor:
    r"""Compute :math:`\sum_k w_k \, \mathrm{BCE}(z_k + \delta_{yk}, [y = k])`, (N,).

    Args:
        cls_score: Logits z, (N, C + 1).
        label: Class indices y, (N,); C is background.
        margins: :math:`\delta`, (C + 1, C + 1), see :func:`confusion_margins`.
        prob_thr: The w are those of :func:`counted_columns`; None: 1.
    """
    target = F.one_hot(label, cls_score.size(1)).to(cls_score)
    loss = F.binary_cross_entropy_with_logits(cls_score + margins.to(cls_score)[label], target, reduction='none')
    return (loss if prob_thr is None else loss * counted_columns(cls_score, label, prob_thr)).sum(1)


@MODELS.register_module()
class FCBLLoss(UsesProgress, DetectionLoss):
    r"""Gives classes that lose to others larger margins, and lets negatives count only where they compete.

    .. math::
        L = \frac{1}{N} \sum_{ik} w_{ik} \, \mathrm{BCE}(z_{ik} + \delta_{y_i k}, [y_i = k]), \qquad
        \delta_{lk} = \alpha \log \frac{\max(M_{lk}, \epsilon)}{\max(M_{kl}, \epsilon)}

    :math:`M_{lk}` is the mean of the softmax over the C classes at column k among all objects of class l so far, over
    all ranks (:class:`~ltmm.models.state.RunningConfusion`); it acts from the next iteration on. The last of C + 1
    columns is background, without margins; scores are sigma(z_k) (1 - sigma(z_C)). The weight w is 1 for background. On
    objects it is 1 for the background column and those whose score is at least that of the label or ``prob_thr``, and 0
    for the others. N counts the proposals with a weight.

    [0] Qi et al., Balanced Classification: A Unified Framework for Long-Tailed Object Detection, TMM 2023,
        arXiv 2308.02213.
    [1] github.com/Tianhao-Qi/BACL @6553662, ``FCBL``. Reproduces [1] to 1e-6 (tests/conformance, ``bacl_fcbl``).

    Args:
        alpha: Strength of the margins; 0.85 in [1].
        prob_thr: Score from which a column always counts; 0.7 in [1].
        reweight_epoch: First epoch, from 0, with the weights w; None: never. 0 in [1], whose ``reweight_step`` is 1.
        **kwargs: ``loss_weight``, ``reduction`` and ``class_weight`` of :class:`DetectionLoss`.
    """

    num_background_columns = 1
    needs_num_classes = True
    balances_classes = True

    def __init__(
        self, *, alpha: float = 0.85, prob_thr: float = 0.7, reweight_epoch: int | None = 0, **kwargs: Any
    ) -> None:
        check(alpha=(alpha, '>= 0'), prob_thr=(prob_thr, 'in [0, 1]'))
        check(reweight_epoch=(reweight_epoch, 'int >= 0 or None'))
        super().__init__(**kwargs)
        self.alpha, self.prob_thr, self.reweight_epoch = alpha, prob_thr, reweight_epoch

    def on_num_classes(self, num_classes: int) -> None:
        self.confusion = RunningConfusion(num_classes)

    def too_short(self, max_epochs: int) -> str | None:
        if self.reweight_epoch is not None and self.reweight_epoch >= max_epochs:
            return f'starts its weights in epoch {self.reweight_epoch} of {max_epochs}, which is never.'
        return None

    @property
    def reweights_now(self) -> bool:
        """Whether the weights w act in this epoch."""
        if self.reweight_epoch is None:
            return False
        return self.reweight_epoch == 0 or self.epoch >= self.reweight_epoch

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        margins = confusion_margins(self.confusion.rates, self.alpha)
        return fcbl_loss(cls_score, label, margins, self.prob_thr if self.reweights_now else None)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss of logits (N, C + 1); in training, then add up the confusions."""
        loss = super().forward(cls_score, label, weight, avg_factor, reduction_override)
        self.add_confusions(cls_score, label)
        return loss

    def add_confusions(self, cls_score: Tensor, label: Tensor) -> None:
        """Add the scores of a batch to M; does nothing in evaluation mode."""
        self.confusion.update(at_least_float32(cls_score.detach()[:, :-1]).softmax(1), label)

    def extra_repr(self) -> str:
        options = f'alpha={self.alpha}, prob_thr={self.prob_thr}, reweight_epoch={self.reweight_epoch}'
        return f'{options}, {super().extra_repr()}'
