"""COMIC's multi-focal modifier: an asymmetric focal loss whose focus depends on the class and on its company."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.registry import MODELS

from .asl_loss import check_asymmetric
from .base import MultiLabelPriorLoss
from .multi_focal import multi_focal, scarcity_weight

__all__ = ['MultiFocalModifierLoss']

FORMS = {'prior': 1 / 3, 'multi_grained': 1 / 6}  # exponents of the class weights in the authors' code


@MODELS.register_module()
class MultiFocalModifierLoss(MultiLabelPriorLoss):
    r"""Weighs the tail up, forgives easy negatives, and forgives the likely companions of an image's positives most.

    With :math:`\omega_c = (1 - \log (n_c / \max n))^e` and p the sigmoid of the logits,

    .. math:: L = -\sum_c \omega_c \left[ y_c \log \tilde p_c + (1 - y_c)
              (1 - \tilde q_c)^{\gamma^- + \omega_c} \log \tilde q_c \right], \qquad
              \tilde p = p (1 - a), \quad \tilde q = \min(k (1 - p + m), 1)

    (for :math:`\gamma^+ = 0`). a is the share of each class in the company of the image's positives, from how often
    classes come together in the training data; k is ``boost`` where a is positive, and 1 elsewhere. A missing positive
    is most likely such a companion: as a negative it gets no gradient below a score of 0.22. No gradient flows through
    the focus.

    Form ``'multi_grained'`` leaves a out, which is the modifier of [0]; ``'prior'`` is what the training code of [1]
    takes. An image without positives has no company; a class without images has weight 0. Unknown labels have no part
    in the loss.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``PriorFocalModifierLoss`` and ``MultiGrainedFocalLoss``. Equal to [1] on
        its own numbers (tests/conformance, ``comic_mfm``).

    Args:
        form: ``'prior'`` or ``'multi_grained'``.
        gamma_neg: :math:`\gamma^-`.
        gamma_pos: :math:`\gamma^+`.
        clip: m.
        boost: k.
        weight_exponent: e; that of [1] when left out: 1/3 of ``'prior'``, 1/6 of ``'multi_grained'``.
        co_occurrence: images that hold both of two classes, (C, C), the images of each class on the diagonal; taken
            from the training data when left out; it belongs to form ``'prior'``.
        eps: smallest argument of the logarithm.
        detach_focus: no gradient through the focus.
        reduction: see :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`; [1] takes the sum.
        **kwargs: loss_weight, class_counts and num_classes of
            :class:`~ltmm.models.losses.multi_label.base.MultiLabelPriorLoss`.

    Raises:
        ValueError: an unknown form, a number out of range (``clip`` in [0, 1), ``eps`` in (0, 1), ``boost`` at least 1,
            the others at least 0), or a co-occurrence matrix that is none or that form ``'multi_grained'`` has no use
            for.
        RuntimeError: at the first forward, when no class distribution, or none with the co-occurrence, has arrived
            (the message says both ways).
    """

    accepts_unknown = True
    gives_total = True

    def __init__(
        self,
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
        if form not in FORMS:
            raise ValueError(f'Expected `form` to be one of {sorted(FORMS)}, but got {form!r}.')
        weight_exponent = FORMS[form] if weight_exponent is None else weight_exponent
        check_asymmetric(clip, eps, gamma_neg=gamma_neg, gamma_pos=gamma_pos, weight_exponent=weight_exponent)
        if not 1 <= boost < float('inf'):
            raise ValueError(f'Expected `boost` to be at least 1, but got {boost}.')
        if co_occurrence is not None and form != 'prior':
            raise ValueError(f"`co_occurrence` belongs to form='prior', but got form={form!r}.")
        self.form, self.gamma_neg, self.gamma_pos = form, gamma_neg, gamma_pos
        self.clip, self.boost, self.eps, self.detach_focus = clip, boost, eps, detach_focus
        self.weight_exponent = weight_exponent
        self._given_co_occurrence = co_occurrence
        super().__init__(reduction=reduction, **kwargs)

    def init_class_distribution(self, *args: Any) -> None:
        """Also make room for the co-occurrence, so that a checkpoint carries it."""
        if self.form == 'prior':
            given = self._given_co_occurrence
            value = torch.zeros(0, 0) if given is None else torch.tensor(np.asarray(given))
            if value.dim() != 2 or value.size(0) != value.size(1):
                raise ValueError(f'Expected `co_occurrence` to be of shape (C, C), but got {tuple(value.shape)}.')
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
                f'{type(self).__name__}: expected `co_occurrence` to be of shape ({len(counts)}, {len(counts)}), '
                f'but got {tuple(self.co_occurrence.shape)}.'
            )
        of_class = self.co_occurrence.sum(dim=0).clamp(min=1)  # (C,)
        self.register_derived('share', self.co_occurrence.double() / of_class)
        self._share_casts = {}

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        return multi_focal(
            cls_score,
            target,
            self.class_weight.to(cls_score),
            gamma_neg=self.gamma_neg,
            gamma_pos=self.gamma_pos,
            clip=self.clip,
            eps=self.eps,
            share=self._known_share(cls_score) if self.form == 'prior' else None,
            boost=self.boost,
            detach_focus=self.detach_focus,
            total=total,
        )

    def _known_share(self, cls_score: Tensor) -> Tensor:
        """The share of each class in the company of others, in the dtype of the logits, which it is cast to once."""
        if not len(self.share):
            raise RuntimeError(
                f"{type(self).__name__}(form='prior') needs to know how often classes come together, but the class "
                'distribution does not say. It does when the training data are multi-label; or give co_occurrence='
                "[[...]] yourself, or take form='multi_grained'."
            )
        key = cls_score.dtype, cls_score.device
        if key not in self._share_casts:
            self._share_casts = {key: self.share.to(cls_score)}
        return self._share_casts[key]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        key = f'{prefix}co_occurrence'
        if self.form == 'prior' and key in state_dict:
            is_given = self._given_co_occurrence is not None or self.class_distribution.pinned
            if is_given or self._num_classes not in (None, len(state_dict[key])):
                state_dict[key] = self.co_occurrence
            self.co_occurrence = torch.zeros_like(state_dict[key], device=self.co_occurrence.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'form={self.form!r}, {super().extra_repr()}'
