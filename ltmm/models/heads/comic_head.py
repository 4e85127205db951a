"""The head of COMIC: classifiers for head, tail and both, and the losses between them."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import ModuleDict
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.losses.multi_label.base import MultiLabelLoss
from ltmm.models.losses.multi_label.head_tail_balancer_loss import HeadTailBalancerLoss
from ltmm.registry import MODELS
from ltmm.utils.errors import InputTypeError

from .base import check_loss
from .multi_label_cls_head import MultiLabelClsHead

__all__ = ['BRANCHES', 'COMICHead']

BRANCHES = ('head', 'tail', 'balanced')
Feats = Mapping[str, tuple[Tensor, ...]]


@MODELS.register_module()
class COMICHead(MultiLabelClsHead):
    """Three classifiers, one that leans to the head, one that leans to the tail, and a balanced one, which predicts.

    The losses of a branch b are named ``b_loss_modifier``, of its logits, and ``b_loss_corrector``, of its logits for
    moved features; ``balanced_loss_balancer`` draws the balanced branch to the two others. Their sum trains each branch
    by its own losses alone: no gradient flows from one to another. The features of the balanced branch are added
    ``attention_weight`` times what its attention takes from the two others, in training as in prediction.

    Args:
        num_classes: C.
        in_channels: D, width of the features of every branch.
        loss: the modifier.
        corrector: the loss for moved features; every branch has its own.
        balancer: the loss of the balanced branch that knows the two others, with ``loss`` as the loss in it where it
            names no other; None leaves it out.
        classifier: layer from (N, D) to (N, C), such as ``'ltmm.CausalCosine'``; built with ``in_features``,
            ``out_features`` and ``mode``, which is the name of the branch.
        attention: of the balanced branch, built with ``in_features``; None leaves it out.
        attention_weight: factor of what it takes.
        class_counts: training images per class; taken from the training data when left out.
        thr: see :class:`MultiLabelClsHead`, as the rest.
        topk: number of classes to predict, where ``thr`` is not given.
        init_cfg: initialisation; None leaves each layer its own.

    Raises:
        TypeError: a loss that was made for another place or another head; at a forward, features that are not those of
            three branches; and what :class:`MultiLabelClsHead` raises.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: dict = dict(type='ltmm.MultiFocalModifierLoss'),
        corrector: dict = dict(type='ltmm.ReflectiveLabelCorrectorLoss', loss_weight=0.2),
        balancer: dict | None = dict(type='ltmm.HeadTailBalancerLoss'),
        classifier: dict = dict(type='ltmm.CausalCosine'),
        attention: dict | None = dict(type='ltmm.AdditiveAttention', hidden_features=1024),
        attention_weight: float = 0.1,
        class_counts: Sequence[int] | dict | str | None = None,
        thr: float | None = None,
        topk: int | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        build = MMPRETRAIN_MODELS.build
        super().__init__(num_classes, in_channels, loss, (), classifier, class_counts, thr, topk, init_cfg)
        self.fc = ModuleDict(
            {
                branch: build(dict(classifier, mode=branch, in_features=in_channels, out_features=num_classes))
                for branch in BRANCHES
            }
        )
        self.corrector = ModuleDict({branch: build(corrector) for branch in BRANCHES})
        self.balancer = None if balancer is None else build({'loss': loss, **balancer})
        self.attention = None if attention is None else build(dict(attention, in_features=in_channels))
        self.attention_weight = attention_weight
        for branch in BRANCHES:
            check_loss(self, self.corrector[branch], (MultiLabelLoss,), name='`corrector` of COMICHead')
        if self.balancer is not None:
            check_loss(self, self.balancer, (HeadTailBalancerLoss,), name='`balancer` of COMICHead')
            check_loss(self, self.balancer.loss, (MultiLabelLoss,), name='`balancer` of COMICHead')

    def pre_logits(self, feats: Feats) -> Tensor:
        """The attended features of the balanced branch, (N, D).

        Args:
            feats: the features of each branch, the last of them (N, D).
        """
        if not isinstance(feats, Mapping) or set(feats) != set(BRANCHES):
            raise InputTypeError(
                f'{type(self).__name__} needs the features of the branches {list(BRANCHES)}, which '
                "model=dict(type='ltmm.COMIC', ...) gives."
            )
        head, tail, balanced = (feats[branch][-1] for branch in BRANCHES)
        if self.attention is None:
            return balanced
        others = torch.stack([head, tail], dim=1).detach()  # (N, 2, D)
        return balanced + self.attention_weight * self.attention(balanced, others)

    def forward(self, feats: Feats) -> Tensor:
        """Logits (N, C) of the balanced branch; its argument is that of :meth:`pre_logits`."""
        return self.fc['balanced'](self.pre_logits(feats))

    def loss(self, feats: Feats, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """The losses of all branches.

        Args:
            feats: see :meth:`pre_logits`.
            data_samples: labels of the N images.
        """
        target = self.labels_of(data_samples)
        balanced = self.pre_logits(feats)  # (N, D)
        inputs = dict(head=feats['head'][-1], tail=feats['tail'][-1], balanced=balanced)
        losses, logits = {}, {}
        for branch in BRANCHES:
            logits[branch], moved = self.fc[branch].with_moved(inputs[branch])  # both (N, C)
            losses[f'{branch}_loss_modifier'] = self.loss_module(logits[branch], target)
            losses[f'{branch}_loss_corrector'] = self.corrector[branch](moved, target)
        if self.balancer is not None:
            losses['balanced_loss_balancer'] = self.balancer(
                logits['head'].detach(), logits['tail'].detach(), logits['balanced'], target
            )
        return losses
