"""BACL: the foreground classification balance loss, and features drawn for classes with low scores."""

import torch
from torch import Tensor

from ltmm.models.state.class_memory import draw_classes, from_first_rank
from ltmm.models.state.prototypes import Prototypes
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .base import BoxHeadObjective
from .fcbl_loss import FCBLLoss

__all__ = ['BACLLoss']


@MODELS.register_module()
class BACLLoss(BoxHeadObjective):
    r"""FCBL, and synthetic features for classes with low scores, mostly tail classes.

    .. math:: \tilde x \sim \mathcal{N}(\mu_c, \mathrm{diag}(v_c)), \qquad P(c) \propto 1 - M_{cc}

    The means and variances of the embeddings of each class, over all ranks, are running averages
    (:class:`~ltmm.models.state.Prototypes`; the variance includes how the mean moves). Each batch draws classes by the
    confusions M of :class:`FCBLLoss`, and some features of each of them, which go through the classifier as further
    proposals, so that everything before it has to be frozen, as in the second stage of [0]. M counts real proposals
    only.

    [0] Qi et al., Balanced Classification: A Unified Framework for Long-Tailed Object Detection, TMM 2023,
        arXiv 2308.02213.
    [1] github.com/Tianhao-Qi/BACL @6553662. Reproduces FCBL of [1] to 1e-6 (tests/conformance, ``bacl_fcbl`` and
        ``trajectory_bacl_fcbl``).

    Args:
        feat_dim: Width of the embedding, ``fc_out_channels`` of the box head.
        alpha, prob_thr, reweight_epoch: See :class:`FCBLLoss`.
        momentum: Share of a batch in mean and variance; 0.1 in [1].
        num_drawn_classes: Classes that each batch, over all ranks, draws; 0 for none. 8 for two images in [1], 64 for
            16.
        num_drawn_features: Features of each of them; 4 in [1], 12 in its configs of LVIS v1.
        loss_weight: Weight of the loss.
    """

    prior_prob = FCBLLoss.prior_prob
    use_sigmoid = True
    balances_classes = True

    def __init__(
        self,
        *,
        feat_dim: int,
        alpha: float = 0.85,
        prob_thr: float = 0.7,
        reweight_epoch: int | None = 0,
        momentum: float = 0.1,
        num_drawn_classes: int = 8,
        num_drawn_features: int = 4,
        loss_weight: float = 1.0,
    ) -> None:
        check(momentum=(momentum, 'in (0, 1]'))
        check(num_drawn_classes=(num_drawn_classes, 'int >= 0'), num_drawn_features=(num_drawn_features, 'int >= 1'))
        super().__init__(feat_dim=feat_dim, loss_weight=loss_weight)
        self.loss = FCBLLoss(alpha=alpha, prob_thr=prob_thr, reweight_epoch=reweight_epoch)
        self.momentum = momentum
        self.num_drawn_classes, self.num_drawn_features = num_drawn_classes, num_drawn_features
        self.statistics: Prototypes | None = None

    def on_num_classes(self, num_classes: int) -> None:
        self.loss.get_cls_channels(num_classes)
        if self.num_drawn_classes:
            self.statistics = Prototypes(num_classes, self.feat_dim, self.momentum, with_variances=True)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the scores of :class:`FCBLLoss`, (N, C + 1)."""
        return self.loss.get_activation(cls_score)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        features, label = self.draw_features(inputs.features)  # (M, D), (M,)
        drawn = self.loss.unreduced(inputs.classifier(features), label)
        loss = self.loss.unreduced(inputs.cls_score, inputs.label)
        self._update(inputs)
        return dict(loss_cls=self.loss_weight * self.mean(loss, drawn, inputs))

    @torch.no_grad()
    def draw_features(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Draw features and their labels, the same on all ranks: (M, D), (M,).

        Args:
            like: Features of their dtype.
        """
        if self.statistics is None:
            return like.new_zeros(0, self.feat_dim), torch.zeros(0, dtype=torch.int64, device=like.device)
        seen = self.statistics.counts > 0
        weight = (1 - self.loss.confusion.rates.diagonal()).clamp(min=0) * seen
        classes = draw_classes(weight, self.num_drawn_classes)
        label = classes[weight[classes] > 0].repeat_interleave(self.num_drawn_features)
        noise = from_first_rank(torch.randn(len(label), self.feat_dim, device=like.device))
        features = self.statistics.means[label] + self.statistics.variances[label].sqrt() * noise
        return features.to(like), label

    @torch.no_grad()
    def _update(self, inputs: LossInputs) -> None:
        """Update confusions, means and variances."""
        self.loss.add_confusions(inputs.cls_score, inputs.label)
        if self.statistics is not None:
            objects = (inputs.label < self.num_classes).nonzero().squeeze(1)
            self.statistics.update(inputs.features[objects], inputs.label[objects])

    def extra_repr(self) -> str:
        return (
            f'momentum={self.momentum}, num_drawn_classes={self.num_drawn_classes}, '
            f'num_drawn_features={self.num_drawn_features}'
        )
