"""Binary cross entropy of softmax probabilities, the loss of weight balancing."""

import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..base import ClassificationLoss

__all__ = ['SoftmaxBCELoss', 'softmax_bce_loss']


def softmax_bce_loss(cls_score: Tensor, label: Tensor) -> Tensor:
    """Compute the mean over the classes of -log p_y and all -log(1 - p_c), (N,).

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,).
    """
    log_prob, index = cls_score.log_softmax(1), label.unsqueeze(1)
    is_top = torch.zeros_like(cls_score, dtype=torch.bool).scatter(1, cls_score.argmax(1, keepdim=True), True)
    # 1 - p of the largest p is the share of all others; in float32 p may be 1
    log_rest_of_top = log_prob.masked_fill(is_top, -torch.inf).logsumexp(1, keepdim=True)  # (N, 1)
    log_rest = torch.where(is_top, log_rest_of_top, torch.log1p(-log_prob.exp().masked_fill(is_top, 0)))
    return -log_rest.scatter(1, index, log_prob.gather(1, index)).mean(1)


@MODELS.register_module()
class SoftmaxBCELoss(ClassificationLoss):
    r"""Binary cross entropy on softmax probabilities: also pushes wrong classes down one by one.

    .. math::
        \ell(z, y) = -\frac{1}{C} \Big(\log p_y + \sum_{c \ne y} \log (1 - p_c)\Big), \qquad p = \mathrm{softmax}(z)

    The second stage of weight balancing weights it by the effective number of samples: ``ltmm.ReweightedLoss`` around
    it with ``kind='effective_number'`` and ``normalize='batch_size'``.

    References:
        [0] Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022, arXiv 2203.14197.
        [1] github.com/ShadeAlsha/LTR-weight-balancing @e89f292, class_balanced_loss.py. PyTorch's binary cross entropy
            in [1] ends at 100; this one does not.

    Args:
        loss_weight, reduction, class_weight: See :class:`~ltmm.models.losses.base.LogitLoss`.
    """

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return softmax_bce_loss(cls_score, label)
