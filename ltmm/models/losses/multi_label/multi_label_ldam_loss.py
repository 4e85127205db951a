"""LDAM for multi-label classification: larger margins for positives of rarer classes."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..classification.ldam_loss import ldam_margins
from .base import MultiLabelPriorLoss

__all__ = ['MultiLabelLDAMLoss']


@MODELS.register_module()
class MultiLabelLDAMLoss(MultiLabelPriorLoss):
    r"""Binary cross entropy with the margins of :class:`LDAMLoss` subtracted from the logits of positives.

    .. math::
        \ell_{ic} = -y_{ic} \log \sigma(z_{ic} - m_c) - (1 - y_{ic}) \log (1 - \sigma(z_{ic})), \qquad
        m_c \propto n_c^{-1/4}, \quad \max_c m_c = m_{\max}

    [0] reports it without code, so this form is ours and not compared with any reference. Classes without training
    images have margin 0. Unknown labels have loss 0, but count in the mean.

    [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
        arXiv 2007.09654; margins of Cao et al., NeurIPS 2019, arXiv 1906.07413.

    Args:
        max_margin: m_max; 0.5 in the LDAM paper.
        **kwargs: Arguments of :class:`MultiLabelPriorLoss`.
    """

    accepts_unknown = True

    def __init__(self, *, max_margin: float = 0.5, **kwargs: Any) -> None:
        check(max_margin=(max_margin, '> 0'))
        self.max_margin = max_margin
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('margin', ldam_margins(distribution.image_counts, self.max_margin))

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        margin = self.margin.to(cls_score)  # (C,)
        return F.binary_cross_entropy_with_logits(cls_score - margin * target, target, reduction='none')

    def extra_repr(self) -> str:
        return f'max_margin={self.max_margin}, {super().extra_repr()}'
