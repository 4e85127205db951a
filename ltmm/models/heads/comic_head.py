"""Head of COMIC: three classifiers and the losses between them."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import ModuleDict
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.losses.multi_label.base import MultiLabelLoss
from ltmm.models.losses.multi_label.head_tail_balancer_loss import HeadTailBalancerLoss
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from .base import check_loss
from .multi_label_cls_head import MultiLabelClsHead

__all__ = ['BRANCHES', 'COMICHead']

BRANCHES = ('head', 'tail', 'balanced')
Feats = Mapping[str, tuple[Tensor, ...]]


@MODELS.register_module()
class COMICHead(MultiLabelClsHead):
    """Head of COMIC: a classifier biased to head classes, one biased to tail classes, and a balanced one that predicts.

    The losses of branch b are ``b_loss_modifier``, of its logits, and ``b_loss_corrector``, of its logits for features
    shifted along the mean direction; ``balanced_loss_balancer`` distills the other two branches into the balanced one.
    No gradient flows between branches. The features of the balanced branch are increased by ``attention_weight`` times
    its attention over the other two branches, in training and prediction. See :class:`~ltmm.models.classifiers.COMIC`
    for what the published code leaves out and adds.

    Args:
        num_classes: C.
        in_channels: D, width of the features of every branch.
        loss: The modifier.
        corrector: Loss of the shifted features, one per branch.
        corrected_branches: Branches with a corrector.
        balancer: Loss of the balanced branch, built with ``loss`` as its inner loss unless it names one; None for none.
        classifier: Layer from (N, D) to (N, C), such as ``'ltmm.CausalCosine'``; built with ``in_features``,
            ``out_features`` and ``mode``, the name of the branch.
        attention: Attention of the balanced branch, built with ``in_features``; None for none.
        attention_weight: Weight of the attention.
        irm_weight: Weight of ``irm_loss``, the mean of the three modifiers, whose gradient reaches every branch.
        class_counts: Training images per class. Default: taken from the training data.
        thr: See :class:`MultiLabelClsHead`.
        topk: See :class:`MultiLabelClsHead`.
        init_cfg: Initialization; None leaves each layer as it is.
    """

    accepts = (MultiLabelLoss,)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: dict = dict(type='ltmm.MultiFocalModifierLoss'),
        corrector: dict = dict(type='ltmm.ReflectiveLabelCorrectorLoss', loss_weight=0.2),
        corrected_branches: Sequence[str] = BRANCHES,
        balancer: dict | None = dict(type='ltmm.HeadTailBalancerLoss'),
        classifier: dict = dict(type='ltmm.CausalCosine'),
        attention: dict | None = dict(type='ltmm.AdditiveAttention', hidden_features=1024),
        attention_weight: float = 0.1,
        irm_weight: float = 0.0,
        class_counts: Sequence[int] | dict | str | None = None,
        thr: float | None = None,
        topk: int | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        check(irm_weight=(irm_weight, '>= 0'))
        for branch in corrected_branches:
            check(corrected_branches=(branch, BRANCHES))
        build = MMPRETRAIN_MODELS.build
        super().__init__(num_classes, in_channels, loss, (), classifier, class_counts, thr, topk, init_cfg)
        self.fc = ModuleDict(
            {
                branch: build(dict(classifier, mode=branch, in_features=in_channels, out_features=num_classes))
                for branch in BRANCHES
            }
        )
        self.corrector = ModuleDict({branch: build(corrector) for branch in corrected_branches})
        self.balancer = None if balancer is None else build({'loss': loss, **balancer})
        self.attention = None if attention is None else build(dict(attention, in_features=in_channels))
        self.attention_weight, self.irm_weight = attention_weight, irm_weight
        for loss_module in self.corrector.values():
            check_loss(self, loss_module, (MultiLabelLoss,), name='`corrector` of COMICHead')
        if self.balancer is not None:
            check_loss(self, self.balancer, (HeadTailBalancerLoss,), name='`balancer` of COMICHead')
            check_loss(self, self.balancer.loss, (MultiLabelLoss,), name='`balancer` of COMICHead')

    def pre_logits(self, feats: Feats) -> Tensor:
        """Return the attended features of the balanced branch, (N, D).

        Args:
            feats: Features of each branch, the last of them (N, D).
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
        """Return logits (N, C) of the balanced branch, see :meth:`pre_logits`."""
        return self.fc['balanced'](self.pre_logits(feats))

    def loss(self, feats: Feats, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Compute the losses of all branches.

        Args:
            feats: See :meth:`pre_logits`.
            data_samples: Labels of the N images.
        """
        target = self.labels_of(data_samples)
        balanced = self.pre_logits(feats)  # (N, D)
        inputs = dict(head=feats['head'][-1], tail=feats['tail'][-1], balanced=balanced)
        losses, logits = {}, {}
        for branch in BRANCHES:
            logits[branch], moved = self.fc[branch].with_moved(inputs[branch])  # both (N, C)
            losses[f'{branch}_loss_modifier'] = self.loss_module(logits[branch], target)
            if branch in self.corrector:
                losses[f'{branch}_loss_corrector'] = self.corrector[branch](moved, target)
        if self.balancer is not None:
            losses['balanced_loss_balancer'] = self.balancer(
                logits['head'].detach(), logits['tail'].detach(), logits['balanced'], target
            )
        if self.irm_weight:
            modifiers = torch.stack([losses[f'{branch}_loss_modifier'] for branch in BRANCHES])
            losses['irm_loss'] = self.irm_weight * modifiers.mean()
        return losses
