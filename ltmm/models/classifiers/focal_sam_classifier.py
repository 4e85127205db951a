"""Sharpness-aware minimization (SAM) and Focal-SAM, which flattens the loss of rare classes more."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce_params
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.heads.long_tail_cls_head import LongTailClsHead
from ltmm.models.losses.class_weights import sample_weights
from ltmm.models.losses.objective import LossInputs, Objective
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

__all__ = ['FocalSAMClassifier', 'ascent_step', 'focal_weights']


def focal_weights(counts: np.ndarray, gamma: float, sharpness: float) -> np.ndarray:
    r"""Return :math:`s (1 - n_c / N)^\gamma` for each class, (C,).

    Args:
        counts: Training images per class, (C,).
        gamma: :math:`\gamma`; with 0, all classes have weight s.
        sharpness: s.
    """
    return sharpness * (1 - counts / counts.sum()) ** gamma


def ascent_step(grads: Sequence[Tensor], rho: float) -> tuple[list[Tensor], Tensor]:
    """Scale gradients to length ``rho`` over all of them, and return whether they are finite; if not, the step is 0."""
    norm = torch.stack([grad.norm() for grad in grads]).norm()
    scale = torch.where(norm.isfinite(), rho / (norm + 1e-12), 0)
    return [grad.nan_to_num(0, 0, 0) * scale for grad in grads], norm.isfinite()


@MODELS.register_module()
class FocalSAMClassifier(UsesClassDistribution, NeedsWholeBatch, ImageClassifier):
    r"""Adds the sharpness of the loss, weighted by class: larger for rare classes, smaller for frequent ones.

    .. math::
        \frac{1}{N} \sum_i \ell_i(\theta) + w_{y_i} \big( \ell_i(\theta + \epsilon) - \ell_i(\theta) \big), \quad
        \epsilon = \rho \frac{\nabla L_w}{\lVert \nabla L_w \rVert}, \quad
        L_w = \frac{1}{N} \sum_i w_{y_i} \ell_i(\theta), \quad w_c = s \Big(1 - \frac{n_c}{\sum_k n_k}\Big)^\gamma

    with :math:`\epsilon` as a constant, which moves all parameters that have a gradient. The defaults of ``gamma`` and
    ``sharpness`` are plain SAM. A class without training images has weight s. With Mixup, the weights of the classes
    are mixed like the labels.

    A step takes two forward passes, both in one graph, and the work of three backward passes. Any optimizer wrapper
    works, with clipping and loss scaling as always, but not gradient accumulation. The activations of both passes are
    in memory. :math:`\epsilon` comes from gradients averaged over the ranks. For float16 its gradient is scaled by
    ``ascent_scale``, which is halved whenever it overflows; that step has :math:`\epsilon = 0`.

    The running statistics of batch normalization move in both passes as in [1], or in the first only.

    [0] Li et al., Focal-SAM: Focal Sharpness-Aware Minimization for Long-Tailed Classification, ICML 2025; SAM: Foret
        et al., ICLR 2021, arXiv 2010.01412.
    [1] github.com/scongl/Focal-SAM @86c13c6, whose code for mixed precision never looks for overflows. Not compared
        with numbers of [1]; the tests derive the step anew.

    Args:
        *args: Of mmpretrain's ``ImageClassifier``. The head has to be an ``ltmm.LongTailClsHead`` with any loss of
            logits and labels that has a value per image, so not ``ltmm.GeometricMeanLoss``. In :math:`L_w`,
            ``ltmm.ReweightedLoss`` has its plain weights, as with ``normalize='batch_size'``.
        rho: :math:`\rho`.
        gamma: :math:`\gamma`.
        sharpness: s.
        norm_twice: Whether the second pass moves the running statistics too.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(
        self,
        *args: Any,
        rho: float = 0.05,
        gamma: float = 0.0,
        sharpness: float = 1.0,
        norm_twice: bool = True,
        **kwargs: Any,
    ) -> None:
        check(rho=(rho, '>= 0'), gamma=(gamma, '>= 0'), sharpness=(sharpness, 'in [0, 1]'))
        super().__init__(*args, **kwargs)
        if not isinstance(self.head, LongTailClsHead) or isinstance(self.head.loss_module, Objective):
            raise InputTypeError(
                'FocalSAMClassifier needs an ltmm.LongTailClsHead with a loss of logits and labels, but got '
                f'{type(self.head).__name__} with {type(self.head.loss_module).__name__}.'
            )
        self.rho, self.gamma, self.sharpness, self.norm_twice = rho, gamma, sharpness, norm_twice
        self.register_buffer('ascent_scale', torch.tensor(2.0**16))
        self.init_class_distribution(num_classes=self.head.num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('class_weight', focal_weights(distribution.instance_counts, self.gamma, self.sharpness))

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor') -> Any:
        """As mmpretrain, with one more mode: ``'weighted_loss'``, see :meth:`weighted_loss`."""
        if mode == 'weighted_loss':
            return self.weighted_loss(self.head.loss_inputs(self.extract_feat(inputs), data_samples))
        return super().forward(inputs, data_samples, mode)

    def weighted_loss(self, inputs: LossInputs) -> Tensor:
        """Return the mean over the images of their main loss times the weight of their class."""
        weight = sample_weights(inputs.label, self.class_weight.to(inputs.cls_score.device, torch.float32))
        return self.head.main_loss(replace(inputs, weight=weight))

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        self.get_class_distribution()  # raises an error if there is none
        first = self.head.loss_inputs(self.extract_feat(inputs), data_samples)
        losses, weighted = self.head.compute_losses(first), self.weighted_loss(first)
        moved = self._moved_parameters(weighted)
        if not self.norm_twice:
            moved |= {name: buffer.clone() for name, buffer in self.named_buffers()}
        perturbed = torch.func.functional_call(self, moved, (inputs, data_samples, 'weighted_loss'))
        if 'loss' in losses:  # MMEngine's name of the total
            losses['loss_cls'] = losses.pop('loss')
        return losses | dict(loss_sharpness=perturbed - weighted)

    def _moved_parameters(self, weighted: Tensor) -> dict[str, Tensor]:
        r"""Return :math:`\theta + \epsilon` by name, for the parameters with a gradient."""
        parameters = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        scaled = torch.autograd.grad(
            weighted * self.ascent_scale, list(parameters.values()), retain_graph=True, allow_unused=True
        )
        grads = {name: grad / self.ascent_scale for name, grad in zip(parameters, scaled) if grad is not None}
        all_reduce_params(grads.values(), op='mean')
        steps, is_finite = ascent_step([*grads.values()], self.rho)
        self.ascent_scale.mul_(torch.where(is_finite, 1.0, 0.5))
        return {name: parameters[name] + step for name, step in zip(grads, steps)}
