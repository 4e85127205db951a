"""BCL: supervised contrastive loss in which every class contributes equally, with a prototype per class."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.layers.normed_linear import NormedLinear
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from ..base import check_soft_labels, divisor, gather_features
from ..objective import LossInputs, Objective
from .projection import check_features, projector
from .supervised_contrast import supervised_contrast

__all__ = ['BalancedContrastiveLoss', 'balanced_contrastive_loss']


def balanced_contrastive_loss(features: Tensor, label: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Compute the balanced supervised contrastive loss of each feature, (N,), against those of all ranks.

    Args:
        features: Unit vectors, (N, D).
        label: Class indices, (N,).
        prototypes: One unit vector per class, (C, D).
        temperature: T.
    """
    others, classes, own = gather_features(features, label)  # (M, D), (M,), (N,)
    references = torch.cat([others, prototypes])  # (M + C, D)
    classes = torch.cat([classes, torch.arange(len(prototypes), device=label.device)])  # (M + C,)
    is_self = own.unsqueeze(1) == torch.arange(len(references), device=label.device)  # (N, M + C)
    is_positive = (label.unsqueeze(1) == classes) & ~is_self  # (N, M + C)
    class_size = features.new_zeros(len(prototypes)).index_add_(0, classes, features.new_ones(len(classes)))
    class_size = class_size[classes] - is_positive.to(features)  # (N, M + C), without the anchor in its own class
    logits = features @ references.T / temperature  # (N, M + C)
    return supervised_contrast(logits, is_positive, ~is_self, log_weight=-class_size.log())


@MODELS.register_module()
class BalancedContrastiveLoss(NeedsWholeBatch, Objective):
    r"""Contrastive loss that averages over the features of a class, so that head classes do not dominate tail classes.

    .. math::
        \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{z_i \cdot z_p / T}}
        {\sum_c \frac{1}{|B_c|} \sum_{k \in B_c} e^{z_i \cdot z_k / T}}

    B_c are the projected features of class c in the batch, of all ranks, without i itself, and the prototype of the
    class, which is projected from the classifier's weights; P_i are those of the class of i. Every class is thus in
    every batch. The batch-norm of the projection is per rank unless the config has ``sync_bn='torch'``.
    Use it in ``aux_losses`` beside ``ltmm.BalancedSoftmaxLoss``, with three views of each image: the first for the main
    loss (``cls_views=1``), the others for this one.

    References:
        [0] Zhu et al., Balanced Contrastive Learning for Long-Tailed Visual Recognition, CVPR 2022, arXiv 2207.09052.
        [1] github.com/FlamieZhu/Balanced-Contrastive-Learning @f72d070. This implementation reproduces [1] to 1e-6
            (tests/conformance, ``bcl`` and ``trajectory_bcl``).

    Args:
        in_channels: Width of the features and of the classifier's weights.
        feat_dim: Width of the projected features; 1024 in [1].
        temperature: T; 0.07 in [1].
        views: Views that are contrasted, counted from 0.
    """

    requires = ('features', 'classifier')
    accepts_soft_labels = False

    def __init__(
        self, *, in_channels: int, feat_dim: int = 1024, temperature: float = 0.07, views: Sequence[int] = (1, 2)
    ) -> None:
        super().__init__()
        check(in_channels=(in_channels, 'int >= 1'), feat_dim=(feat_dim, 'int >= 1'))
        check(temperature=(temperature, '> 0'), views=(views, 'a list of int >= 0'))
        self.temperature, self.views = temperature, tuple(views)
        self.in_channels = in_channels
        self.projector, self.prototype_projector = (projector(in_channels, feat_dim, batch_norm=True) for _ in range(2))

    def prototypes(self, classifier: nn.Module) -> Tensor:
        """Project the weights of the classifier to prototypes, (C, D)."""
        return F.normalize(self.prototype_projector(classifier.weight), dim=1)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        features = F.normalize(self.projector(inputs.features), dim=1)  # (V N, D)
        features = features.view(inputs.num_views, len(inputs.label), -1)[list(self.views)].flatten(0, 1)
        label = inputs.label.repeat(len(self.views))
        loss = balanced_contrastive_loss(features, label, self.prototypes(inputs.classifier), self.temperature)
        return dict(loss_contrastive=loss.sum() / divisor(len(loss), loss))

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)
        if not isinstance(inputs.classifier, (nn.Linear, NormedLinear)):
            kind = type(inputs.classifier).__name__
            raise InputTypeError(f'BalancedContrastiveLoss needs ltmm.Linear or ltmm.NormedLinear, but got {kind}.')
        check_features(self, inputs, self.in_channels, max(self.views) + 1, or_more=True)

    def extra_repr(self) -> str:
        return f'temperature={self.temperature}, views={self.views}'
