"""Box head of several experts: one classifier per expert, one score, one box."""

from collections.abc import Iterable
from typing import Any

import torch
from mmdet.models.roi_heads import bbox_heads as mmdet_heads
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from ltmm.models.losses.detection.roi_expert_loss import RoILossOfExperts
from ltmm.registry import MODELS
from ltmm.utils.errors import InputTypeError

from .convfc_bbox_head import BBoxHeadMixin

__all__ = ['MultiExpertBBoxHead']


class ExpertClassifiers(nn.Module):
    """One classifier per expert; their logits lie side by side.

    Args:
        cfg: Config of the layer.
        in_features: D.
        widths: Columns of each expert, (E,).
    """

    def __init__(self, cfg: dict, in_features: int, widths: list[int]) -> None:
        super().__init__()
        self.out_features = sum(widths)
        self.experts = nn.ModuleList(
            MMDET_MODELS.build(dict(cfg, in_features=in_features, out_features=width)) for width in widths
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map the features (N, D) of each expert to logits (N, sum of the widths)."""
        return torch.cat([expert(x) for expert, x in zip(self.experts, features, strict=True)], dim=1)


@MODELS.register_module()
class MultiExpertBBoxHead(BBoxHeadMixin, mmdet_heads.ConvFCBBoxHead):
    """mmdet's ConvFC box head with one classifier per expert, for experts that specialize in head or tail classes.

    The loss tells the number of experts, what each learns and how their scores are combined: ``ltmm.RoIExpertLoss``
    takes an expert loss of classification of one view and without a teacher, ``ltmm.RoILossPerExpert`` one box head
    loss per expert. Each expert has its own layers of the classification branch (``num_cls_convs``, ``num_cls_fcs``).
    By default there are two shared layers, as in mmdet's Shared2FCBBoxHead; ``num_shared_fcs=1, num_cls_fcs=1`` gives
    each expert a layer of its own.

    Args:
        loss_cls: ``ltmm.RoIExpertLoss`` or ``ltmm.RoILossPerExpert``.
        num_shared_fcs: Shared fully connected layers.
        fc_out_channels: Width of the fully connected layers.
        **kwargs: Arguments of :class:`mmdet.models.ConvFCBBoxHead`.
    """

    accepts = (RoILossOfExperts,)

    def __init__(self, loss_cls: dict, num_shared_fcs: int = 2, fc_out_channels: int = 1024, **kwargs: Any) -> None:
        super().__init__(loss_cls=loss_cls, num_shared_fcs=num_shared_fcs, fc_out_channels=fc_out_channels, **kwargs)
        if not isinstance(self.loss_cls, RoILossOfExperts):
            raise InputTypeError(
                'MultiExpertBBoxHead needs ltmm.RoIExpertLoss or ltmm.RoILossPerExpert, but got '
                f'{type(self.loss_cls).__name__}.'
            )
        widths = self.loss_cls.widths
        branches = [
            self._add_conv_fc_branch(self.num_cls_convs, self.num_cls_fcs, self.shared_out_channels)[:2] for _ in widths
        ]
        self.cls_convs, self.cls_fcs = (nn.ModuleList(part) for part in zip(*branches))  # (E,) lists of layers each
        self.fc_cls = ExpertClassifiers(self.cls_predictor_cfg, self.cls_last_dim, widths)
        self._uses_prior_probs = kwargs.get('init_cfg') is None

    def init_weights(self) -> None:
        """Initialize as mmdet does, then set the biases from ``prior_probs`` unless ``init_cfg`` was given."""
        super().init_weights()
        for layer, prior_prob in zip(self.fc_cls.experts, self.loss_cls.prior_probs):
            if self._uses_prior_probs and prior_prob is not None:
                nn.init.constant_(layer.bias, bias_init_with_prob(prior_prob))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of all experts, side by side, and the box deltas.

        Args:
            x: Features of the proposals, (N, channels, height, width).
        """
        for conv in self.shared_convs:
            x = conv(x)
        if self.shared_fcs:
            x = self._branch(x, (), self.shared_fcs)
        features = [self._branch(x, convs, fcs) for convs, fcs in zip(self.cls_convs, self.cls_fcs)]  # (E,) of (N, D)
        if self.has_objectives and self.training:
            self._features = torch.cat(features, dim=1)  # (N, E D)
        bbox_pred = self.fc_reg(self._branch(x, self.reg_convs, self.reg_fcs)) if self.with_reg else None
        return self.fc_cls(features), bbox_pred

    def _branch(self, x: Tensor, convs: Iterable[nn.Module], fcs: Iterable[nn.Module]) -> Tensor:
        """Apply convolutions, pooling and fully connected layers: (N, D)."""
        for conv in convs:
            x = conv(x)
        if x.dim() > 2:
            x = (self.avg_pool(x) if self.with_avg_pool else x).flatten(1)
        for fc in fcs:
            x = self.relu(fc(x))
        return x
