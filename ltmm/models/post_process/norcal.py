"""NorCal: calibrate what a trained detector is sure of, class by class."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.fits import head_kind
from ltmm.models.prior import UsesClassDistribution
from ltmm.registry import MODELS

from .base import PostProcess

__all__ = ['NorCal', 'norcal_divisor', 'norcal_scores']

FACTORS = ('effective_number', 'power')
PLACES = ('exps', 'logits', 'probs')


def norcal_divisor(counts: np.ndarray, gamma: float, factor: str) -> np.ndarray:
    r"""What each class is divided by, (C,): :math:`n^\gamma`, or :math:`(1 - \gamma^n) / (1 - \gamma)`.

    Args:
        counts: training images of each class, n, (C,); 0 counts as 1.
        gamma: strength; 0 gives 1 for all.
        factor: ``'power'`` or ``'effective_number'``.
    """
    counts = np.maximum(counts, 1).astype(float)
    if factor == 'power':
        return counts**gamma
    return ClassDistribution(counts).effective_number(gamma)


def norcal_scores(
    cls_score: Tensor, divisor: Tensor, activation: Callable[[Tensor], Tensor], on: str, renorm: bool
) -> Tensor:
    """Calibrated scores, (N, C + 1); background is what it was before it is normalised.

    Args:
        cls_score: logits, (N, C) or wider: those of the C classes come first, the others stay as they are.
        divisor: (C,), float64.
        activation: from logits to scores (N, C + 1), with a softmax or with sigmoids.
        on: ``'exps'``, ``'probs'`` or ``'logits'``.
        renorm: whether the scores are normalised again.
    """
    num_classes = len(divisor)
    if on != 'logits' and not renorm:
        scores = activation(cls_score)
        return torch.cat([scores[:, :num_classes] / divisor.to(scores), scores[:, num_classes:]], dim=1)
    classes, others = cls_score[:, :num_classes], cls_score[:, num_classes:]
    if on == 'logits':
        classes = classes / divisor.to(classes)
    else:  # e^z / a = e^(z - log a), in a softmax as in a sigmoid, and nothing overflows
        classes = classes - divisor.log().to(classes)
    return activation(torch.cat([classes, others], dim=1))


@MODELS.register_module()
class NorCal(UsesClassDistribution, PostProcess):
    r"""Lowers the scores of the classes that many training images hold, so that the tail is not lost behind them.

    For box heads with a softmax over classes and background (b), and for those with a sigmoid for each class:

    .. math::
        s_c = \frac{e^{z_c} / a_c}{\sum_k e^{z_k} / a_k + e^{z_b}}, \qquad
        s_c = \frac{p_c / a_c}{p_c / a_c + 1 - p_c}, \qquad a_c = n_c^\gamma

    with the number n of training images of each class, out of the checkpoint. Background is left alone. Both are
    shifts of the logits by :math:`-\log a_c`, and so is what becomes of Seesaw's scores, whose classes and objectness
    are apart. It works on Faster, Mask and Cascade R-CNN and whatever else has mmdet's box heads.

    [0] Pan et al., On Model Calibration for Long-Tailed Object Detection and Instance Segmentation, NeurIPS 2021, arXiv
        2107.02170.
    [1] github.com/tydpan/NorCal @23e5ab6. Equal to [1] on its own numbers (tests/conformance, ``norcal``).

    Args:
        gamma: strength, at least 0; 0 changes nothing.
        factor: ``'power'``, :math:`a = n^\gamma`, or ``'effective_number'`` (``cb`` in [1]),
            :math:`a = (1 - \gamma^n) / (1 - \gamma)`, with gamma below 1, such as 0.999.
        on: what is divided by a: ``'exps'``, the exponentials of the logits, or ``'probs'``, which are the same but for
            their sum, or ``'logits'``.
        renorm: whether the scores sum to 1 again; without it they are :math:`p_c / a_c`.
        class_counts: training images per class, as :meth:`ltmm.ClassDistribution.build` takes them; taken from the
            checkpoint when left out.

    Raises:
        ValueError: a ``gamma`` out of range, an unknown ``factor`` or ``on``, or ``renorm=False`` with logits; at a
            forward, logits of other classes than the training data have.
        TypeError: a model without mmdet's box heads, or with one that makes its scores by itself.
        RuntimeError: neither the checkpoint nor ``class_counts`` gives the counts.
    """

    fits = ('roi',)
    strength = 'gamma'
    grid = (0, 1, 11)
    objective = 'bbox_AP'

    def __init__(
        self,
        gamma: float = 0.6,
        factor: str = 'power',
        on: str = 'exps',
        renorm: bool = True,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        for name, value, valid in (('factor', factor, FACTORS), ('on', on, PLACES)):
            if value not in valid:
                raise ValueError(f'Expected `{name}` to be one of {list(valid)}, but got {value!r}.')
        if not 0 <= gamma < (1 if factor == 'effective_number' else float('inf')):
            limit = 'in [0, 1)' if factor == 'effective_number' else 'at least 0'
            raise ValueError(f'Expected `gamma` to be {limit}, but got {gamma}.')
        if on == 'logits' and not renorm:
            raise ValueError("Expected renorm=True with on='logits': scores of logits are normalised in any case.")
        self.gamma, self.factor, self.on, self.renorm = gamma, factor, on, renorm
        if factor == 'effective_number':
            self.grid = (0, 0.99, 12)
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def forward(self, cls_score: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """Calibrated scores, (N, C + 1).

        Args:
            cls_score: logits of a box head, (N, C), (N, C + 1) or (N, C + 2).
            activation: from logits to the head's own scores.
        """
        distribution = self.get_class_distribution()
        if (self.renorm or self.on == 'logits') and cls_score.size(1) - len(distribution) not in (0, 1, 2):
            raise ValueError(
                f'NorCal: expected logits of the {len(distribution)} classes in the training data, and up to 2 of '
                f"background, but got {cls_score.size(1)}. What several experts predict takes on='probs', renorm=False."
            )
        divisor = torch.from_numpy(norcal_divisor(distribution.image_counts, self.gamma, self.factor))
        return norcal_scores(cls_score, divisor.to(cls_score.device), activation, self.on, self.renorm)

    def check(self, head: nn.Module) -> None:
        """Refuse what is not a box head of mmdet, or makes its scores by itself."""
        maker = next((c.__name__ for c in type(head).__mro__ if '_predict_by_feat_single' in vars(c)), None)
        if head_kind(head) != 'roi' or maker != 'BBoxHead':
            raise TypeError(
                "NorCal calibrates the scores of mmdet's RoI box heads (Faster, Mask and Cascade R-CNN), but got "
                f'{type(head).__name__}.'
            )

    def attach(self, head: nn.Module) -> None:
        """Correct all that ``head`` predicts from now on; what it does in training stays as it is.

        Args:
            head: a box head of mmdet.
        """
        loss = head.loss_cls
        activation = loss.get_activation if head.custom_cls_channels else partial(torch.softmax, dim=-1)

        def scores(cls_score: Tensor) -> Tensor:
            return activation(cls_score) if head.training else self(cls_score, activation)

        loss.get_activation = scores
        loss.custom_cls_channels = True  # from now on mmdet's head asks the loss for the scores

    def fold(self, head: nn.Module) -> bool:
        """Shift the bias of the classifier, where the correction is a shift of the logits."""
        layer = head.fc_cls
        if self.on == 'logits' or not self.renorm or type(layer) is not nn.Linear or layer.bias is None:
            return False
        distribution = self.get_class_distribution()
        if layer.out_features - len(distribution) not in (0, 1, 2):
            return False
        shift = np.log(norcal_divisor(distribution.image_counts, self.gamma, self.factor))
        with torch.no_grad():
            layer.bias[: len(shift)] -= torch.from_numpy(shift).to(layer.bias)
        return True

    def settings(self) -> Mapping[str, Any]:
        """See :class:`PostProcess`."""
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(gamma=self.gamma, factor=self.factor, on=self.on, renorm=self.renorm, **counts)
