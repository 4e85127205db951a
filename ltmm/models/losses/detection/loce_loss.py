"""LOCE: margins by the mean scores of the classes, and a memory that adds samples of classes with low scores."""

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor, nn

from ltmm.models.state.class_memory import ClassMemory, MeanScores
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .base import BoxHeadObjective

__all__ = ['LOCELoss', 'equilibrium_loss']


def equilibrium_loss(cls_score: Tensor, label: Tensor, mean_score: Tensor) -> Tensor:
    r"""Compute the cross entropy of the logits :math:`z_c + \log m_c`, (N,).

    Args:
        cls_score: Logits z, (N, C + 1).
        label: Class indices, (N,).
        mean_score: m, (C + 1,).
    """
    return F.cross_entropy(cls_score + mean_score.log().to(cls_score), label, reduction='none')


@MODELS.register_module()
class LOCELoss(BoxHeadObjective):
    r"""Gives classes with low mean scores, mostly tail classes, larger margins and more samples.

    .. math:: \ell(z, y) = -\log \frac{m_y e^{z_y}}{\sum_k m_k e^{z_k}}

    m_c is the running mean of the softmax scores of the objects of class c (:class:`~ltmm.models.state.MeanScores`);
    the scores of an object are averaged over its proposals. It is updated before the loss of the same batch. That of
    background, the last of C + 1 columns, is constant. Scores are the plain softmax.

    A memory holds the last embeddings of the proposals of each class. Each batch draws classes with a probability in
    proportion to 1 / m_c and some embeddings of each. They go through the classifier as further proposals, so that
    everything before it has to be frozen, as in the second stage of [0]. Those of a class count as one object in m.

    The memory of [1] holds features of jittered boxes of the objects, is filled before the training, and also trains
    the box regression. Here it holds the proposals of objects, which mostly differ from their boxes too.

    [0] Feng et al., Exploring Classification Equilibrium in Long-Tailed Object Detection, ICCV 2021, arXiv 2108.07507.
    [1] github.com/fcjian/LOCE @0a0194d, ``EquilibriumLoss``, ``LOCERoIHead``. Reproduces the loss of [1] to 1e-6
        (tests/conformance, ``loce_ebl`` and ``trajectory_loce_ebl``).

    Args:
        feat_dim: Width of the embedding, ``fc_out_channels`` of the box head.
        momentum: Share of a new object in m_c; 0.1 in [1].
        background_score: m of background, and m of all classes at the start; 0.01 in [1].
        memory_size: Embeddings of each class in the memory; 80 in [1]. Memory and each checkpoint hold 4 bytes times
            C x ``memory_size`` x ``feat_dim``: 394 MB on LVIS v1.
        num_memory_classes: Classes that each batch, over all ranks, draws from the memory; 0 for no memory. 8 for two
            images in [1], 64 for 16.
        num_memory_features: Embeddings of each of them; 4 in [1].
        loss_weight: Weight of the loss.
    """

    requires = (*BoxHeadObjective.requires, 'object_idx')
    use_sigmoid = False
    balances_classes = True

    def __init__(
        self,
        *,
        feat_dim: int,
        momentum: float = 0.1,
        background_score: float = 0.01,
        memory_size: int = 80,
        num_memory_classes: int = 8,
        num_memory_features: int = 4,
        loss_weight: float = 1.0,
    ) -> None:
        check(momentum=(momentum, 'in (0, 1]'), background_score=(background_score, 'in (0, 1]'))
        check(memory_size=(memory_size, 'int >= 1'))
        check(num_memory_classes=(num_memory_classes, 'int >= 0'))
        check(num_memory_features=(num_memory_features, 'int >= 1'))
        super().__init__(feat_dim=feat_dim, loss_weight=loss_weight)
        self.momentum, self.background_score, self.memory_size = momentum, background_score, memory_size
        self.num_memory_classes, self.num_memory_features = num_memory_classes, num_memory_features
        self.mean_scores: MeanScores | None = None
        self.memory: ClassMemory | None = None

    def on_num_classes(self, num_classes: int) -> None:
        self.mean_scores = MeanScores(num_classes, self.momentum, init=self.background_score)
        if self.num_memory_classes:
            self.memory = ClassMemory(num_classes, self.memory_size, self.feat_dim)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the softmax of the logits, (N, C + 1)."""
        return cls_score.softmax(-1)

    @property
    def mean_score(self) -> Tensor:
        """m, (C + 1,)."""
        return F.pad(self.mean_scores.values, (0, 1), value=self.background_score)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        score, label = inputs.cls_score, inputs.label
        memory_score, memory_label = self._draw(inputs.classifier)  # (M, C + 1), (M,)
        self._update(inputs, memory_score, memory_label)
        loss = equilibrium_loss(score, label, self.mean_score)
        of_memory = equilibrium_loss(memory_score, memory_label, self.mean_score)
        return dict(loss_cls=self.loss_weight * self.mean(loss, of_memory, inputs))

    def _draw(self, classifier: nn.Module) -> tuple[Tensor, Tensor]:
        """Return logits and labels of embeddings from the memory."""
        values = self.mean_scores.values
        features, label = values.new_zeros(0, self.feat_dim), values.new_zeros(0, dtype=torch.int64)
        if self.memory is not None:
            weight = 1 / (values + 1e-7)
            features, label = self.memory.draw(weight, self.num_memory_classes, self.num_memory_features)
        return classifier(features), label

    @torch.no_grad()
    def _update(self, inputs: LossInputs, memory_score: Tensor, memory_label: Tensor) -> None:
        """Update mean scores and memory."""
        objects = (inputs.label < self.num_classes).nonzero().squeeze(1)  # (P,)
        label = torch.cat([inputs.label[objects], memory_label])
        prob = torch.cat([inputs.cls_score[objects], memory_score]).softmax(1)
        prob = prob.gather(1, label.unsqueeze(1)).squeeze(1)
        object_idx = torch.cat([inputs.object_idx[objects], -1 - memory_label])
        share = torch.ones_like(prob)
        share[len(objects) :] = 1 / get_world_size()
        self.mean_scores.update(prob, label, object_idx, share)
        if self.memory is not None:
            self.memory.update(inputs.features[objects], inputs.label[objects])

    def extra_repr(self) -> str:
        return (
            f'momentum={self.momentum}, background_score={self.background_score}, '
            f'num_memory_classes={self.num_memory_classes}, num_memory_features={self.num_memory_features}'
        )
