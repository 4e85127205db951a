"""CC-SAM: each class is trained at weights, then at features, that were moved against it, rare classes further."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import NeedsWholeBatch, gather_rows
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from ..base import ClassificationLoss, InnerLoss, LogitLoss, check_soft_labels, reduce_loss
from ..build import build_loss
from ..class_weights import takes_no_class_weight
from ..objective import LossInputs, Objective

__all__ = ['CCSAMFeatureLoss', 'CCSAMLoss', 'move_features', 'perturbed_logits']


def perturbed_logits(
    cls_score: Tensor, features: Tensor, label: Tensor, grad: Tensor, radius: Tensor, has_bias: bool = True
) -> Tensor:
    r"""Return the logits of a linear classifier whose weights move along the gradient of each image's own class.

    The gradient of class c is :math:`G_c = \frac{1}{|c|} \sum_{j \in c} g_j f_j^\top`. Moving the weights by
    :math:`s_c G_c` adds :math:`\frac{s_c}{|c|} \sum_{j \in c} (f_j^\top f_i) g_j` to the logits of image i, so that no
    gradient of the size of the weights is built. The sums are over the images of all ranks; the move is a constant.

    Args:
        cls_score: Logits, (N, C).
        features: f, (N, D).
        label: Class indices, (N,).
        grad: g, gradient of the loss of each image by its logits, (N, C).
        radius: :math:`s_c \lVert G_c \rVert^{3/2}` for the class of each image, (N, 1).
        has_bias: Whether the classifier has a bias, which moves by its own gradient.
    """
    keys, grads, key_label = gather_rows(features, grad, label)  # (M, D), (M, C), (M,)
    same = (label[:, None] == key_label).to(grads)
    share = same / same.sum(dim=1, keepdim=True)  # (N, M)
    squared_norm = (share @ ((keys @ keys.T) * (grads @ grads.T)) * share).sum(dim=1, keepdim=True)  # of G_c
    shift = _power(squared_norm.clamp(min=0), -0.75) * ((share * (features @ keys.T)) @ grads)
    if has_bias:
        bias_grad = share @ grads  # (N, C)
        shift = shift + _power(bias_grad.square().sum(dim=1, keepdim=True), -0.75) * bias_grad
    return cls_score + radius * shift


def move_features(features: Tensor, label: Tensor, grad: Tensor, length: Tensor) -> Tensor:
    """Move the features of each class along their gradient, by ``length`` in all, over the images of all ranks.

    Args:
        features: (N, D).
        label: Class indices, (N,).
        grad: Gradient of the loss of each image by its features, (N, D).
        length: Of the class of each image, (N,).
    """
    squared, key_label = gather_rows(grad.square().sum(dim=1), label)  # (M,)
    squared_norm = (label[:, None] == key_label).to(squared) @ squared  # (N,)
    return features + (length * _power(squared_norm, -0.5))[:, None] * grad


def _power(x: Tensor, exponent: float) -> Tensor:
    """Raise to a negative power; 0 stays 0, so that nothing moves along a gradient of 0."""
    return torch.where(x > 0, x, 1).pow(exponent) * (x > 0)


class _AroundLoss(UsesClassDistribution, NeedsWholeBatch, Objective):
    """Base class of both objectives: another loss inside, and the class distribution."""

    def __init__(self, loss: nn.Module | dict) -> None:
        super().__init__()
        self.loss = build_loss(loss)
        if isinstance(self.loss, (LogitLoss, Objective, InnerLoss)) and not isinstance(self.loss, ClassificationLoss):
            raise InputTypeError(
                f'{type(self).__name__} accepts ClassificationLoss, but got {type(self.loss).__name__}.'
            )

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        return self.loss(cls_score, label, reduction_override='none')


@MODELS.register_module()
@takes_no_class_weight('give it to the `loss` inside.')
class CCSAMLoss(_AroundLoss):
    r"""Trains each class at classifier weights moved against it, further for rarer classes; the first stage of CC-SAM.

    .. math::
        (1 - \phi) \ell(z_i, t_i) + \phi\, \ell(z_i', y_i), \quad
        z_i' = (W + \epsilon_{y_i}^W) f_i + b + \epsilon_{y_i}^b, \quad
        \epsilon_c = r \Big(\frac{P}{n_c - 1}\Big)^{1/4} \sqrt{\frac{\lVert W, b \rVert}{2}}
        \frac{g_c}{\lVert g_c \rVert^{3/2}}

    :math:`g_c` is the gradient of the mean loss of the images of class c in the batch by the P weights W and b of the
    classifier, taken for W and for b apart. The gradient of the second term reaches the features through the moved
    weights. All of it is one graph: any optimizer wrapper works. With Mixup, t are the mixed labels and y the classes
    of the first images. A class with one image counts as one with two; a gradient of 0 moves nothing.

    [0] Zhou et al., Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition, CVPR 2023.
    [1] github.com/zzpustc/CC-SAM @651d3df. Reproduces [1] to 1e-6 (tests/conformance, ``cc_sam`` and
        ``trajectory_cc_sam``). The paper moves the weights of the backbone too; [1] does not.

    Args:
        loss: Any loss of logits and labels. The classifier has to be linear, so not ``ltmm.LDAMLoss``.
        rho: r.
        flat_ratio: :math:`\phi`; 0.3 for CIFAR-10 and 0.5 for CIFAR-100 in [1].
        class_counts: Training images per class. Default: taken from the training data.
    """

    requires = ('cls_score', 'features', 'classifier', 'hard_label')

    def __init__(
        self,
        *,
        loss: nn.Module | dict = nn.CrossEntropyLoss(),
        rho: float = 1e-6,
        flat_ratio: float = 0.5,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        check(rho=(rho, '>= 0'), flat_ratio=(flat_ratio, 'in [0, 1]'))
        super().__init__(loss)
        self.rho, self.flat_ratio = rho, flat_ratio
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('class_radius', (distribution.instance_counts - 1.0).clip(min=1) ** -0.25 / 2**0.5)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        label, hard_label = inputs.per_view(inputs.label), inputs.per_view(inputs.hard_label)
        grad = torch.func.grad(lambda z: self.unreduced(z, label).sum())(inputs.cls_score.detach())
        weights = [weight.detach() for weight in inputs.classifier.parameters()]
        norm = sum(weight.square().sum() for weight in weights).sqrt()
        radius = self.rho * (norm.sqrt() * sum(map(torch.numel, weights)) ** 0.25) * self.class_radius[hard_label]
        perturbed = perturbed_logits(
            inputs.cls_score,
            inputs.features,
            hard_label,
            grad,
            radius.to(grad)[:, None],
            has_bias=inputs.classifier.bias is not None,
        )
        return dict(
            loss_cls=(1 - self.flat_ratio) * reduce_loss(self.unreduced(inputs.cls_score, label)),
            loss_perturbed=self.flat_ratio * reduce_loss(self.unreduced(perturbed, hard_label)),
        )

    def _check(self, inputs: LossInputs) -> None:
        self.check_logits(inputs.cls_score)
        if type(inputs.classifier).forward is not nn.Linear.forward:
            raise InputTypeError(
                f"CCSAMLoss needs classifier=dict(type='ltmm.Linear'), but got {type(inputs.classifier).__name__}."
            )

    def extra_repr(self) -> str:
        return f'rho={self.rho}, flat_ratio={self.flat_ratio}'


@MODELS.register_module()
@takes_no_class_weight('give it to the `loss` inside.')
class CCSAMFeatureLoss(UsesProgress, _AroundLoss):
    r"""Trains each class at features moved against it, further for rarer classes; the second stage of CC-SAM.

    .. math::
        (1 - \alpha) \ell(h(f_i), y_i) + \alpha w_{y_i} \ell(h(f_i + s\, w_{y_i} g_i), y_i), \quad
        w_c = \tfrac{1}{d} \log\Big(\frac{n_{max}}{n_c} + 0.01\Big), \quad
        \alpha = \min\Big(\frac{epoch + 1}{max\_epochs}, \alpha_{max}\Big)

    h is the classifier, of any kind, and g the gradient of the loss by the features of all images of the class, of
    norm 1 per class. The class weight enters twice, as in [1]; it is about 0 for the most frequent class. Classes
    without training images have that of a class with one. The authors freeze the backbone, leave its batch
    normalization in training mode, and sample by class. For the references see :class:`CCSAMLoss`.

    Args:
        loss: Any loss of logits and labels.
        step_size: s.
        max_ratio: :math:`\alpha_{max}`; 1.0 for CIFAR-10 and 0.3 for CIFAR-100 in [1].
        weight_divisor: d.
        class_counts: Training images per class. Default: taken from the training data.
    """

    requires = ('cls_score', 'features', 'classifier')
    accepts_soft_labels = False

    def __init__(
        self,
        *,
        loss: nn.Module | dict = nn.CrossEntropyLoss(),
        step_size: float = 1.0,
        max_ratio: float = 0.3,
        weight_divisor: float = 2.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        check(step_size=(step_size, '>= 0'), max_ratio=(max_ratio, 'in [0, 1]'), weight_divisor=(weight_divisor, '> 0'))
        super().__init__(loss)
        self.step_size, self.max_ratio, self.weight_divisor = step_size, max_ratio, weight_divisor
        self.init_class_distribution(class_counts)

    @property
    def ratio(self) -> float:
        r""":math:`\alpha`."""
        return min((self.epoch + 1) / self.max_epochs, self.max_ratio)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        counts = distribution.instance_counts
        weight = np.log(counts.max() / counts.clip(min=1) + 0.01) / self.weight_divisor
        self.register_derived('class_weight', weight)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        classifier, label = inputs.classifier, inputs.per_view(inputs.label)
        features = inputs.features.detach()
        grad = torch.func.grad(lambda f: self.unreduced(classifier(f), label).sum())(features).detach()
        weight = self.class_weight[label].to(grad)  # (N,)
        moved = move_features(inputs.features, label, grad, self.step_size * weight)
        return dict(
            loss_cls=(1 - self.ratio) * reduce_loss(self.unreduced(inputs.cls_score, label)),
            loss_perturbed=self.ratio * reduce_loss(self.unreduced(classifier(moved), label), weight),
        )

    def _check(self, inputs: LossInputs) -> None:
        self.check_logits(inputs.cls_score)
        check_soft_labels(self, inputs.label)

    def extra_repr(self) -> str:
        return f'step_size={self.step_size}, max_ratio={self.max_ratio}, weight_divisor={self.weight_divisor}'
