"""Asymmetric loss for images with one label."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import ClassificationLoss
from ..functional import power, smooth_labels

__all__ = ['ASLSingleLabelLoss', 'asl_single_label_loss']


def asl_single_label_loss(
    cls_score: Tensor, label: Tensor, gamma_pos: float, gamma_neg: float, smoothing: float
) -> Tensor:
    """Compute the loss of each sample, (N,); see :class:`ASLSingleLabelLoss` for the other arguments.

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,).
    """
    log_prob = cls_score.log_softmax(1)  # (N, C)
    prob, index = log_prob.exp(), label.unsqueeze(1)
    focus = power(prob, gamma_neg).scatter(1, index, power(1 - prob.gather(1, index), gamma_pos))
    return -(smooth_labels(label, smoothing, like=prob) * focus * log_prob).sum(1)


@MODELS.register_module()
class ASLSingleLabelLoss(ClassificationLoss):
    r"""Cross entropy with label smoothing in which wrong classes count only if they have a high score.

    .. math::
        \ell = -\sum_c \tilde y_c \, w_c \log p_c, \qquad w_y = (1 - p_y)^{\gamma_+}, \quad
        w_{c \ne y} = p_c^{\gamma_-}, \quad p = \mathrm{softmax}(z)

    [0] Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, arXiv 2009.14119.
    [1] github.com/Alibaba-MIIL/ASL @8c9e0bd, ``ASLSingleLabel``. Reproduces [1] to 1e-6 (tests/conformance, ``asl``).

    Args:
        gamma_pos: Focusing of the label.
        gamma_neg: Focusing of the other classes.
        smoothing: Share of the label that is spread over all C classes.
        **kwargs: Arguments of :class:`ClassificationLoss`.
    """

    def __init__(
        self,
        *,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        smoothing: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check(gamma_pos=(gamma_pos, '>= 0'), gamma_neg=(gamma_neg, '>= 0'), smoothing=(smoothing, 'in [0, 1)'))
        self.gamma_pos, self.gamma_neg, self.smoothing = gamma_pos, gamma_neg, smoothing

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return asl_single_label_loss(cls_score, label, self.gamma_pos, self.gamma_neg, self.smoothing)

    def extra_repr(self) -> str:
        return (
            f'gamma_pos={self.gamma_pos}, gamma_neg={self.gamma_neg}, smoothing={self.smoothing}, '
            f'{super().extra_repr()}'
        )
