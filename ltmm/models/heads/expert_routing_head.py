"""Classification head of several experts with a router between them."""

from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.layers.expert_router import ExpertRouter
from ltmm.models.losses.expert import ExpertRoutingLoss
from ltmm.registry import MODELS
from ltmm.utils.errors import InputTypeError

from .expert_aggregation import MeanAggregation
from .multi_expert_cls_head import MultiExpertClsHead

__all__ = ['ExpertRoutingHead']


@MODELS.register_module()
class ExpertRoutingHead(MultiExpertClsHead):
    """Head of several trained experts whose router learns after which of them each image can leave.

    At test time :class:`ltmm.models.EarlyExitClassifier` follows the router; this head itself uses all experts.

    Args:
        router: Arguments of :class:`~ltmm.models.layers.expert_router.ExpertRouter` beside the three numbers.
        init_cfg: Initialization; the classifiers come from a checkpoint.
        **kwargs: Arguments of :class:`MultiExpertClsHead`; the loss is ``ltmm.ExpertRoutingLoss``, the aggregation the
            mean.
    """

    accepts = (ExpertRoutingLoss,)
    provides = (*MultiExpertClsHead.provides, 'router_logits')

    def __init__(self, *, router: dict = {}, init_cfg: dict | list | None = None, **kwargs: Any) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        if not isinstance(self.aggregation, MeanAggregation):
            raise InputTypeError(
                'ExpertRoutingHead averages the logits of the experts that an image has seen: expected '
                f'ltmm.MeanAggregation, but got {type(self.aggregation).__name__}.'
            )
        self.router = ExpertRouter(self.in_channels, self.num_classes, self.num_experts, **router)

    def router_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the scores of the router after each expert but the last, (E - 1, N), of features (E, N, D)."""
        total = self.expert_logits(feats).cumsum(0)
        scores = [self.router(e, feats[-1][e], total[e] / (e + 1)) for e in range(self.num_experts - 1)]
        return torch.stack(scores)

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        return super().loss(feats, data_samples, router_logits=self.router_logits(feats), **kwargs)
