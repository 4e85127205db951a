"""PaCo and GPaCo: supervised contrastive losses in which the logits of the classifier are similarities to centers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import NeedsWholeBatch, gather_with_own
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.models.state.feature_queue import FeatureQueue
from ltmm.models.state.key_encoder import KeyEncoder
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import check_soft_labels, divisor, gather_features
from ..objective import LossInputs, Objective
from .projection import check_features, projector

__all__ = ['GPaCoLoss', 'PaCoLoss', 'ParametricContrastLoss', 'parametric_contrastive_loss']

PRIOR_EPS = 1e-9  # added to the prior before taking the logarithm


def parametric_contrastive_loss(
    logits: Tensor,
    label: Tensor,
    anchors: Tensor,
    references: Tensor,
    reference_label: Tensor,
    own: Tensor,
    *,
    temperature: float,
    alpha: float,
    beta: float = 1.0,
    gamma: float = 1.0,
    self_weight: float = 0.0,
    smoothing: float = 0.0,
) -> Tensor:
    """Compute the parametric contrastive loss of each anchor, (A,).

    Args:
        logits: v, the logits of the classifier plus the log prior, (A, C).
        label: Class indices of the anchors, (A,).
        anchors: Unit vectors, (A, D).
        references: Unit vectors, (R, D), the anchors among them.
        reference_label: Class indices, (R,); -1 where a reference does not count.
        own: Row of each anchor in the references, (A,).
        temperature: T.
        alpha: Weight of each positive reference.
        beta: Weight of the center of the class.
        gamma: Weight of each reference in the sum over centers and references.
        self_weight: Weight of the anchor itself in this sum.
        smoothing: Share of the center's weight that is spread over the other classes.
    """
    similarity = anchors @ references.T / temperature  # (A, R)
    is_self = own.unsqueeze(1) == torch.arange(len(references), device=label.device)  # (A, R)
    positive = ((label.unsqueeze(1) == reference_label) & ~is_self).to(similarity)
    weight = torch.full_like(similarity, gamma).masked_fill(is_self, self_weight)  # (A, R)
    weight = weight.masked_fill(reference_label < 0, 0)
    log_sum = torch.cat([logits, similarity + weight.log()], dim=1).logsumexp(1, keepdim=True)  # (A, 1)
    target = F.one_hot(label, logits.size(1)).to(logits)
    target = target * (1 - smoothing) + (1 - target) * smoothing / max(logits.size(1) - 1, 1)
    center = (target * (log_sum - logits)).sum(1)
    contrast = (positive * (log_sum - similarity)).sum(1)
    return (beta * center + alpha * contrast) / (beta + alpha * positive.sum(1))


class ParametricContrastLoss(NeedsWholeBatch, UsesClassDistribution, Objective):
    """Base class of PaCo and GPaCo: projector, labeled queue, prior and weights.

    A subclass sets :attr:`projector_options` and writes :meth:`terms`, with :meth:`mean_loss` in it.

    Attributes:
        projector_options: Of :func:`~ltmm.models.losses.contrastive.projection.projector`.
        num_views: Views of each image that the classifier sees.
        use_prior: Whether the logits are shifted by the log prior.
        smoothing: See :func:`parametric_contrastive_loss`.

    Args:
        in_channels: Width of the features.
        feat_dim: D, width of the projected features.
        queue_size: K, number of features of earlier batches.
        temperature: T.
        alpha: Weight of each positive.
        beta: Weight of the center of the class.
        gamma: Weight of each feature in the sum over centers and features.
        self_weight: Weight of the feature itself in this sum. The authors have 1e-12, as a guard of the logarithm; it
            takes over where T is small, with :math:`10^{-12} e^{1 / T} > 1` for T < 0.036.
        class_counts: Training images per class, a list or ``{class name: count}``. Default: taken from the training
            data.
        num_classes: C, to check the counts against.
    """

    requires = ('cls_score', 'features')
    projector_options: dict[str, Any]
    num_views = 1
    use_prior = True
    smoothing = 0.0
    accepts_soft_labels = False
    balances_classes = True

    def __init__(
        self,
        *,
        in_channels: int,
        feat_dim: int = 128,
        queue_size: int = 8192,
        temperature: float = 0.2,
        alpha: float = 0.05,
        beta: float = 1.0,
        gamma: float = 1.0,
        self_weight: float = 0.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check(in_channels=(in_channels, 'int >= 1'), temperature=(temperature, '> 0'))
        check(alpha=(alpha, '>= 0'), beta=(beta, '> 0'), gamma=(gamma, '>= 0'), self_weight=(self_weight, '>= 0'))
        self.temperature, self.self_weight = temperature, self_weight
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.queue = FeatureQueue(queue_size, feat_dim)
        self.in_channels, self.projector = in_channels, projector(in_channels, feat_dim, **self.projector_options)
        self.init_class_distribution(class_counts, num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('log_prior', np.log(distribution.prior + PRIOR_EPS))

    def mean_loss(self, inputs: LossInputs, anchors: Tensor, *others: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean loss of the anchors of all ranks, against each other, the queue and others.

        Args:
            inputs: Inputs of the loss.
            anchors: Unit vectors, (V N, D).
            others: Unit vectors and class indices of other features of the batch, of all ranks.
        """
        label = inputs.per_view(inputs.label)
        *batch, own = gather_features(anchors, label)
        parts = zip(batch, *others, (self.queue.features, self.queue.labels))
        references, reference_label = (torch.cat(part) for part in parts)
        logits = inputs.cls_score + self.log_prior.to(inputs.cls_score) if self.use_prior else inputs.cls_score
        loss = parametric_contrastive_loss(
            logits,
            label,
            anchors,
            references,
            reference_label,
            own,
            temperature=self.temperature,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            self_weight=self.self_weight,
            smoothing=self.smoothing,
        )
        return loss.sum() / divisor(len(loss), loss)

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)
        if self.use_prior:
            self.check_logits(inputs.cls_score)
        check_features(self, inputs, self.in_channels, self.num_views)

    def extra_repr(self) -> str:
        return f'temperature={self.temperature}, alpha={self.alpha}, beta={self.beta}, gamma={self.gamma}'


@MODELS.register_module()
class PaCoLoss(ParametricContrastLoss):
    r"""Parametric contrast (PaCo): frequent classes, with many positives per image, learn less from their own logit.

    .. math::
        \ell_i = -\frac{1}{\beta + \alpha |P_i|} \Big[ \beta \log \frac{e^{v_{i, y_i}}}{S_i}
        + \alpha \sum_{p \in P_i} \log \frac{e^{f_i \cdot f_p / T}}{S_i} \Big], \qquad
        S_i = \sum_c e^{v_{i, c}} + \gamma \sum_{k \ne i} e^{f_i \cdot f_k / T}, \qquad v_{i, c} = z_{i, c} + \log \pi_c

    z are the logits of the classifier, :math:`f_i` is the projected feature of an image; :math:`f_k` are those of the
    batch, of all ranks, their keys, and the keys of the last K images in the queue. The keys are features of another
    view by the momentum copy of the network, which :class:`~ltmm.models.MomentumClassifier` keeps. :math:`P_i` are the
    features of the same class, without i itself. Predict with the plain logits. A class without training images counts
    as if its prior were 1e-9.

    It is the only loss of the head, ``loss=dict(type='ltmm.PaCoLoss', ...)``, with two views of each image. Empty slots
    of the queue do not count; [1] starts with random features and labels, which do. [1] contrasts the images of a GPU,
    this those of all. The batch norm of the projector is per rank unless the config has ``sync_bn='torch'``; that of
    the keys sees those of all ranks. So a rank needs at least 2 images: set ``drop_last=True``.

    References:
        [0] Cui et al., Parametric Contrastive Learning, ICCV 2021, arXiv 2107.12028.
        [1] github.com/dvlab-research/Parametric-Contrastive-Learning @fe56535, ``PaCo/LT``. Reproduces [1] to 1e-6
            (tests/conformance, ``paco`` and ``trajectory_paco``) with ``self_weight=1e-12``. [1] also keeps a momentum
            copy of the classifier, which takes no part in anything.

    Args:
        **kwargs: Arguments of :class:`ParametricContrastLoss`. [1] has the defaults on ImageNet-LT and iNaturalist
            2018, and ``feat_dim=32, queue_size=1024, temperature=0.05, alpha=0.01`` on CIFAR-LT.
    """

    requires = (*ParametricContrastLoss.requires, 'key_features')
    projector_options = dict(batch_norm=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key_projector = KeyEncoder(self.projector)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        anchors = F.normalize(self.projector(inputs.features), dim=1)  # (N, D)
        with torch.no_grad():
            self.key_projector.update(self.projector)
            (key_features, label), own = gather_with_own(inputs.key_features, inputs.label)
            keys = F.normalize(self.key_projector(key_features), dim=1)  # (M, D)
        loss = self.mean_loss(inputs, anchors, (keys, label))
        self.queue.update(keys[own], inputs.label)
        return dict(loss_contrastive=loss)

    def _check(self, inputs: LossInputs) -> None:
        super()._check(inputs)
        if self.training and len(inputs.label) == 1:
            raise InputError(
                'PaCoLoss: the batch norm of its projector needs at least 2 images per process, but got 1: set '
                'train_dataloader=dict(drop_last=True).'
            )


@MODELS.register_module()
class GPaCoLoss(ParametricContrastLoss):
    r"""Generalized parametric contrast (GPaCo): PaCo without momentum copy, in which both views are classified.

    The loss is that of :class:`PaCoLoss`, of the features of both views; all have gradients, and those of the last view
    enter the queue. So the network learns from twice as many anchors. It suits
    :class:`~ltmm.models.PerViewClassifier`, as in [1]; in ``ImageClassifier``, batch norm sees both views at once.

    References:
        [0] Cui et al., Generalized Parametric Contrastive Learning, TPAMI 2023, arXiv 2209.12400.
        [1] github.com/dvlab-research/Parametric-Contrastive-Learning @fe56535, ``GPaCo/LT``. Reproduces [1] to 1e-6
            (tests/conformance, ``paco`` and ``trajectory_gpaco``) with ``self_weight=1e-12``.

    Args:
        smoothing: Share of the weight of the center that is spread over the other classes.
        use_prior: Shift the logits by the log prior; [1] does not on balanced data.
        **kwargs: Arguments of :class:`ParametricContrastLoss`.
    """

    num_views = 2
    projector_options = dict(num_layers=3)

    def __init__(self, *, smoothing: float = 0.0, use_prior: bool = True, **kwargs: Any) -> None:
        check(smoothing=(smoothing, 'in [0, 1)'))
        if not use_prior and kwargs.get('class_counts') is not None:
            raise InputError('GPaCoLoss: use_prior=False takes no class_counts: leave them out.')
        super().__init__(**kwargs)
        self.smoothing, self.use_prior, self.balances_classes = smoothing, use_prior, use_prior

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        anchors = F.normalize(self.projector(inputs.features), dim=1)  # (2 N, D)
        loss = self.mean_loss(inputs, anchors)
        self.queue.update(anchors[len(inputs.label) :], inputs.label)
        return dict(loss_contrastive=loss)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, smoothing={self.smoothing}, use_prior={self.use_prior}'
