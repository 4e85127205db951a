"""COMIC's multi-focal modifier: an asymmetric focal loss that depends on class frequency and label co-occurrence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, MissingInputError

from ..functional import power
from .asl_loss import probability_of_truth
from .base import MultiLabelPriorLoss

__all__ = ['MultiFocalModifierLoss', 'companion_share', 'multi_focal_loss', 'scarcity_weight']

FORMS = {'prior': 1 / 3, 'multi_grained': 1 / 6}  # exponents of the class weights in the authors' code


def scarcity_weight(counts: Tensor, exponent: float) -> Tensor:
    r"""Compute :math:`(1 - \log(n_c / \max n))^e`, float64, (C,): 1 for the most frequent class, 0 for empty ones.

    Args:
        counts: n, (C,).
        exponent: e.
    """
    counts = counts.double()
    ratio = counts.clamp(min=1) / counts.max().clamp(min=1)
    return (1 - ratio.log()) ** exponent * (counts > 0)


def companion_share(target: Tensor, co_occurrence: Tensor) -> Tensor:
    """Compute how much each class co-occurs with the positives of each image, summing to 1 per image, (N, C).

    It is 0 for images without positives, or whose positives co-occur with nothing.

    Args:
        target: 1 positive, 0 negative, (N, C).
        co_occurrence: Share of the images of the second class that hold the first, (C, C).
    """
    companions = target @ co_occurrence
    return companions / companions.sum(1, keepdim=True).clamp(min=torch.finfo(companions.dtype).tiny)


def multi_focal_loss(
    cls_score: Tensor,
    target: Tensor,
    class_weight: Tensor,
    gamma_pos: float,
    gamma_neg: float,
    clip: float,
    companions: Tensor | None = None,
    boost: float = 1.0,
    eps: float = 1e-8,
    detach_focus: bool = True,
) -> Tensor:
    r"""Compute :math:`-\omega (1 - t)^\gamma \log t` with t the modified probability of the truth, (N, C).

    Args:
        cls_score: Logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
        class_weight: omega, also added to the exponent of negatives, (C,).
        gamma_pos: Exponent for positives.
        gamma_neg: Exponent for negatives.
        clip: Margin of negatives.
        companions: See :func:`companion_share`; None leaves t as it is.
        boost: Factor of t for negatives that co-occur with a positive.
        eps: Lower bound of t.
        detach_focus: Stop the gradient through :math:`(1 - t)^\gamma`.
    """
    truth = probability_of_truth(cls_score, target, clip)
    if companions is not None:
        truth = truth * torch.lerp(1 + (boost - 1) * companions.sign(), 1 - companions, target)
    truth = F.hardtanh(truth, eps, 1)  # clamp, with a faster backward
    wrong = 1 - (truth.detach() if detach_focus else truth)
    focus = torch.lerp(wrong ** (gamma_neg + class_weight), power(wrong, gamma_pos), target)
    return -class_weight * focus * truth.log()


@MODELS.register_module()
class MultiFocalModifierLoss(MultiLabelPriorLoss):
    r"""Asymmetric focal loss with larger weights for tail classes, and less loss for likely companions of a positive.

    With :math:`\omega_c = (1 - \log (n_c / \max n))^e` and p the sigmoid of the logits,

    .. math:: L = -\sum_c \omega_c \left[ y_c \log \tilde p_c + (1 - y_c)
              (1 - \tilde q_c)^{\gamma^- + \omega_c} \log \tilde q_c \right], \qquad
              \tilde p = p (1 - a), \quad \tilde q = \min(k (1 - p + m), 1)

    (for :math:`\gamma^+ = 0`). a is :func:`companion_share` of the training data, and k is ``boost`` where a > 0, else
    1: a missing positive is most likely such a companion, and as a negative gets no gradient below a score of 0.22.
    Form ``'multi_grained'`` is the modifier of [0], without a; ``'prior'`` is that of the training code of [1]. Classes
    without images have weight 0; unknown labels have loss 0.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``PriorFocalModifierLoss`` and ``MultiGrainedFocalLoss``. Reproduces [1] to
        1e-6 (tests/conformance, ``comic_mfm``).

    Args:
        form: ``'prior'`` or ``'multi_grained'``.
        gamma_neg: :math:`\gamma^-`.
        gamma_pos: :math:`\gamma^+`.
        clip: m.
        boost: k, at least 1.
        weight_exponent: e. Default: that of [1], 1/3 for ``'prior'`` and 1/6 for ``'multi_grained'``.
        co_occurrence: Number of images with both of two classes, (C, C), for ``'prior'``. Default: taken from the
            training data.
        eps: Lower bound of the argument of the logarithm.
        detach_focus: Stop the gradient through the power.
        reduction: See :class:`MultiLabelLoss`; ``'sum'`` in [1].
        **kwargs: Arguments of :class:`MultiLabelPriorLoss`.
    """

    accepts_unknown = True

    def __init__(
        self,
        *,
        form: str = 'prior',
        gamma_neg: float = 3.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        boost: float = 1.2,
        weight_exponent: float | None = None,
        co_occurrence: Sequence[Sequence[int]] | np.ndarray | None = None,
        eps: float = 1e-8,
        detach_focus: bool = True,
        reduction: str = 'sum',
        **kwargs: Any,
    ) -> None:
        check(form=(form, FORMS), weight_exponent=(weight_exponent, '>= 0 or None'), boost=(boost, '>= 1'))
        check(gamma_neg=(gamma_neg, '>= 0'), gamma_pos=(gamma_pos, '>= 0'))
        check(clip=(clip, 'in [0, 1)'), eps=(eps, 'in (0, 1)'))
        if co_occurrence is not None and form != 'prior':
            raise InputError(f"`co_occurrence` needs form='prior', but got form={form!r}.")
        self.form, self.boost = form, boost
        self.constants = dict(gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, eps=eps, detach_focus=detach_focus)
        self.weight_exponent = FORMS[form] if weight_exponent is None else weight_exponent
        self._given_co_occurrence = co_occurrence
        self.needs_co_occurrence = form == 'prior' and co_occurrence is None
        super().__init__(reduction=reduction, **kwargs)

    def init_class_distribution(self, *args: Any) -> None:
        if self.form == 'prior':  # a buffer, so that checkpoints carry it
            given = self._given_co_occurrence
            value = torch.zeros(0, 0) if given is None else torch.tensor(np.asarray(given))
            if value.dim() != 2 or value.size(0) != value.size(1):
                raise InputError(f'Expected `co_occurrence` to have shape (C, C), but got {tuple(value.shape)}.')
            self.register_buffer('co_occurrence', value.long())
        super().init_class_distribution(*args)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        counts = torch.tensor(distribution.image_counts)
        self.register_derived('class_weight', scarcity_weight(counts, self.weight_exponent))
        if self.form != 'prior':
            return
        if self._given_co_occurrence is None and distribution.co_occurrence is not None:
            self.co_occurrence = torch.tensor(distribution.co_occurrence, device=self.co_occurrence.device).long()
        if len(self.co_occurrence) not in (0, len(counts)):
            raise ClassDistributionError(
                f'{type(self).__name__}: expected `co_occurrence` to have shape ({len(counts)}, {len(counts)}), '
                f'but got {tuple(self.co_occurrence.shape)}.'
            )
        self.register_derived('share', self.co_occurrence.double() / self.co_occurrence.sum(dim=0).clamp(min=1))

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        companions = None
        if self.form == 'prior':
            if not len(self.share):
                raise MissingInputError(
                    f"{type(self).__name__}(form='prior') needs the co-occurrence of the classes: use multi-label "
                    "training data, give co_occurrence=[[...]], or use form='multi_grained'."
                )
            companions = companion_share(target, self.share.to(target))
        class_weight = self.class_weight.to(cls_score)
        return multi_focal_loss(
            cls_score, target, class_weight, companions=companions, boost=self.boost, **self.constants
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        key = f'{prefix}co_occurrence'
        if self.form == 'prior' and key in state_dict:
            is_given = self._given_co_occurrence is not None or self.class_distribution.pinned
            if is_given or self._num_classes not in (None, len(state_dict[key])):
                state_dict[key] = self.co_occurrence
            self.co_occurrence = torch.zeros_like(state_dict[key], device=self.co_occurrence.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'form={self.form!r}, {super().extra_repr()}'
