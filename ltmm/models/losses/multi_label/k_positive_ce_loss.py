"""Softmax cross entropy for several labels per image, each with weight 1 / K."""

from torch import Tensor

from ltmm.registry import MODELS

from .base import MultiLabelLoss

__all__ = ['KPositiveCELoss', 'k_positive_ce_loss']


def k_positive_ce_loss(cls_score: Tensor, target: Tensor) -> Tensor:
    """Compute the cross entropy with the soft labels ``target / target.sum(1)``, per label, (N, C).

    Args:
        cls_score: Logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
    """
    soft_label = target / target.sum(1, keepdim=True).clamp(min=1)  # (N, C)
    return -soft_label * cls_score.log_softmax(1)


@MODELS.register_module()
class KPositiveCELoss(MultiLabelLoss):
    r"""Softmax cross entropy with K positives; every image has the same weight, however many labels it has.

    .. math:: \ell_i = -\frac{1}{K_i} \sum_{c : y_{ic} = 1} \log \mathrm{softmax}(z_i)_c, \qquad K_i = \sum_c y_{ic}

    Images without positives have loss 0 ([1] gives NaN). Heads still predict sigmoids, which rank the classes of an
    image as the softmax does, but not the images of a class.

    [0] Mahajan et al., Exploring the Limits of Weakly Supervised Pretraining, ECCV 2018, arXiv 1805.00932.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``partial_cross_entropy``. Reproduces [1] to 1e-6
        (tests/conformance, ``multilabel_baselines``).

    Args:
        loss_weight: Weight of the loss.
        class_weight: See :class:`MultiLabelLoss`.
        reduction: See :class:`MultiLabelLoss`; ``'mean'`` in [1], C times smaller than the mean over images.
    """

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return k_positive_ce_loss(cls_score, target)
