"""The box head of several experts: a classifier for each, one score from all, one box."""

from collections.abc import Iterable
from typing import Any

import torch
from mmdet.models.roi_heads import bbox_heads as mmdet_heads
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from ltmm.registry import MODELS

from .convfc_bbox_head import FollowsItsLoss

__all__ = ['MultiExpertBBoxHead']


class ExpertClassifiers(nn.Module):
    """A classifier for each expert; their logits lie side by side.

    Args:
        cfg: config of the layer.
        in_features: D.
        widths: columns of each expert, (E,).
    """

    def __init__(self, cfg: dict, in_features: int, widths: list[int]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            MMDET_MODELS.build(dict(cfg, in_features=in_features, out_features=width)) for width in widths
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """From the features (N, D) of each expert to (N, sum of the widths)."""
        return torch.cat([expert(x) for expert, x in zip(self.experts, features, strict=True)], dim=1)


@MODELS.register_module()
class MultiExpertBBoxHead(FollowsItsLoss, mmdet_heads.ConvFCBBoxHead):
    """mmdet's ConvFC box head with E classifiers, so that the tail does not depend on one that the head has shaped.

    The loss says how many experts there are, what each learns and how their scores become one: ``ltmm.RoIExpertLoss``
    takes any expert loss of classification, ``ltmm.RoILossPerExpert`` a RoI loss for each. The layers of the
    classification branch (``num_cls_convs``, ``num_cls_fcs``) are there once for each expert, the shared ones and those
    of the boxes once for all. By default there are two shared layers, as in mmdet's Shared2FCBBoxHead;
    ``num_shared_fcs=1, num_cls_fcs=1`` gives each expert a layer of its own. It works wherever mmdet's ConvFC head
    does, in Cascade R-CNN too.

    Args:
        loss_cls: ``ltmm.RoIExpertLoss`` or ``ltmm.RoILossPerExpert``.
        num_shared_fcs: fully connected layers that all share.
        fc_out_channels: width of the fully connected layers.
        **kwargs: see :class:`mmdet.models.ConvFCBBoxHead`.

    Raises:
        TypeError: a loss of a single classifier.
    """

    def __init__(self, loss_cls: dict, num_shared_fcs: int = 2, fc_out_channels: int = 1024, **kwargs: Any) -> None:
        super().__init__(loss_cls=loss_cls, num_shared_fcs=num_shared_fcs, fc_out_channels=fc_out_channels, **kwargs)
        widths = getattr(self.loss_cls, 'widths', None)
        if widths is None:
            raise TypeError(
                'MultiExpertBBoxHead needs a loss of several experts, ltmm.RoIExpertLoss or ltmm.RoILossPerExpert, but '
                f'got {type(self.loss_cls).__name__}.'
            )
        branches = [
            self._add_conv_fc_branch(self.num_cls_convs, self.num_cls_fcs, self.shared_out_channels)[:2] for _ in widths
        ]
        self.cls_convs, self.cls_fcs = (nn.ModuleList(part) for part in zip(*branches))  # (E,) lists of layers each
        self.fc_cls = ExpertClassifiers(self.cls_predictor_cfg, self.cls_last_dim, widths)
        self._starts_at_prior = kwargs.get('init_cfg') is None

    def init_weights(self) -> None:
        """Start the classifier of each expert where its own loss wants it; an explicit ``init_cfg`` has its way."""
        super().init_weights()
        for layer, prior_prob in zip(self.fc_cls.experts, self.loss_cls.prior_probs):
            if self._starts_at_prior and prior_prob is not None:
                nn.init.constant_(layer.bias, bias_init_with_prob(prior_prob))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of all experts, side by side, and the boxes' deltas.

        Args:
            x: features of the proposals, (N, channels, height, width).
        """
        for conv in self.shared_convs:
            x = conv(x)
        if self.shared_fcs:
            x = self._branch(x, (), self.shared_fcs)
        features = [self._branch(x, convs, fcs) for convs, fcs in zip(self.cls_convs, self.cls_fcs)]
        bbox_pred = self.fc_reg(self._branch(x, self.reg_convs, self.reg_fcs)) if self.with_reg else None
        return self.fc_cls(features), bbox_pred

    def _branch(self, x: Tensor, convs: Iterable[nn.Module], fcs: Iterable[nn.Module]) -> Tensor:
        """Vectors (N, D) out of these layers."""
        for conv in convs:
            x = conv(x)
        if x.dim() > 2:
            x = (self.avg_pool(x) if self.with_avg_pool else x).flatten(1)
        for fc in fcs:
            x = self.relu(fc(x))
        return x
