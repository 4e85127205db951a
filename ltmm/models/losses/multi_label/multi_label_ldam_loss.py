"""LDAM with several labels an image: margins for positives that grow as classes get smaller."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from ..classification.ldam_loss import ldam_margins
from .base import MultiLabelPriorLoss

__all__ = ['MultiLabelLDAMLoss']


@MODELS.register_module()
class MultiLabelLDAMLoss(MultiLabelPriorLoss):
    r"""Asks the positives of a tail class to score higher above zero than those of the head.

    .. math::
        \ell_{ic} = -y_{ic} \log \sigma(z_{ic} - m_c) - (1 - y_{ic}) \log (1 - \sigma(z_{ic})), \qquad
        m_c \propto n_c^{-1/4}, \quad \max_c m_c = m_{\max}

    The margins of :class:`LDAMLoss` in a binary cross entropy, in units of the logits. It
    is a row of the table of [0], whose code does not have it: the form is ours, and equal to nobody's numbers. A class
    without training images has margin 0. An unknown label adds 0; the mean still divides by all N * C labels.

    [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
        arXiv 2007.09654; margins of Cao et al., NeurIPS 2019, arXiv 1906.07413.

    Args:
        max_margin: m_max, positive; 0.5 in the paper of LDAM.
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.multi_label.base.MultiLabelPriorLoss`.

    Raises:
        ValueError: ``max_margin`` is not positive.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    accepts_unknown = True
    leaves_unknown_out = True
    gives_total = True

    def __init__(self, max_margin: float = 0.5, **kwargs: Any) -> None:
        if not 0 < max_margin < float('inf'):
            raise ValueError(f'Expected `max_margin` to be positive, but got {max_margin}.')
        self.max_margin = max_margin
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the margins."""
        self.register_derived('margin', ldam_margins(distribution.image_counts, self.max_margin))

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See the class."""
        score = cls_score - self.margin.to(cls_score) * target
        return F.binary_cross_entropy_with_logits(score, target, reduction='sum' if total else 'none')

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'max_margin={self.max_margin}, {super().extra_repr()}'
