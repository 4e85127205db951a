"""Cross entropy with K positives: one softmax over the classes, shared by the positives of an image."""

from torch import Tensor

from ltmm.registry import MODELS

from .base import MultiLabelLoss

__all__ = ['KPositiveCELoss', 'k_positive_ce_loss']


def k_positive_ce_loss(cls_score: Tensor, target: Tensor) -> Tensor:
    """Cross entropy with ``target / target.sum(1)``, by label, (N, C); 0 for an image without positives.

    Args:
        cls_score: logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
    """
    share = target / target.sum(1, keepdim=True).clamp(min=1)  # (N, C)
    return -share * cls_score.log_softmax(1)


@MODELS.register_module()
class KPositiveCELoss(MultiLabelLoss):
    r"""Lets the classes of an image compete in one softmax; every image counts once, however many labels it has.

    .. math:: \ell_i = -\frac{1}{K_i} \sum_{c : y_{ic} = 1} \log \mathrm{softmax}(z_i)_c, \qquad K_i = \sum_c y_{ic}

    An image without positives adds 0 ([1] gives NaN). Heads still predict with sigmoids, which order the classes of an
    image as the softmax does, but not the images of a class.

    [0] Mahajan et al., Exploring the Limits of Weakly Supervised Pretraining, ECCV 2018, arXiv 1805.00932.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``partial_cross_entropy``. Equal to [1] on its own
        numbers (tests/conformance, ``multilabel_baselines``).

    Args:
        loss_weight: factor of the loss.
        reduction: see :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`; ``'mean'`` in [1], C times
            smaller than the mean over images.
    """

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        """See :func:`k_positive_ce_loss`."""
        return k_positive_ce_loss(cls_score, target)
