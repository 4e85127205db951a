"""The classification head of several experts: a classifier for each, one prediction from all."""

from collections.abc import Sequence
from functools import partial

import torch
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.fits import check_losses_fit
from ltmm.models.layers.per_expert import PerExpert
from ltmm.models.losses.expert import ExpertLoss
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS

__all__ = ['MultiExpertClsHead']


@MODELS.register_module()
class MultiExpertClsHead(UsesClassDistribution, ClsHead):
    """A classifier for each expert and a loss of all; its checkpoints carry the class distribution.

    At test time the logits of the experts are aggregated to one prediction, and the data samples hold the scores of
    each expert besides, as ``expert_scores``, (E, C).

    Args:
        num_classes: C.
        in_channels: D, width of the features of each expert.
        num_experts: E.
        loss: loss of several experts, such as ``ltmm.RIDELoss``.
        classifier: layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``, once for each expert.
        aggregation: from logits (E, N, C) to (N, C).
        class_counts: training images per class; taken from the training data when left out.
        init_cfg: initialisation of the classifiers; the default leaves a cosine layer its own.

    Raises:
        ValueError: C is not positive, or the loss or the aggregation is for another number of experts; a loss whose
            scale is not that of the cosine layer.
        TypeError: a loss of single models, or a loss of cosines with a classifier that gives none.
        ClassDistributionError: a loss for, or training data with, another number of classes.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_experts: int,
        loss: dict,
        classifier: dict = dict(type='ltmm.Linear'),
        aggregation: dict = dict(type='ltmm.MeanAggregation'),
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        if num_classes <= 0:
            raise ValueError(f'Expected `num_classes` to be positive, but got {num_classes}.')
        super().__init__(loss=loss, init_cfg=init_cfg)
        self.num_classes, self.in_channels, self.num_experts = num_classes, in_channels, num_experts
        layer = dict(in_features=in_channels, out_features=num_classes, **classifier)
        self.fc = PerExpert(partial(MMPRETRAIN_MODELS.build, layer), num_experts)
        self.aggregation = MMPRETRAIN_MODELS.build(aggregation)
        self.init_class_distribution(class_counts, num_classes)
        check_losses_fit(self)
        if not isinstance(self.loss_module, ExpertLoss):
            raise TypeError(
                f'MultiExpertClsHead needs a loss of several experts, such as ltmm.BalPoELoss, but got '
                f'{type(self.loss_module).__name__}.'
            )
        for part in (self.loss_module, self.aggregation):
            if getattr(part, 'num_experts', None) not in (None, num_experts):
                raise ValueError(
                    f'{type(part).__name__} is for {part.num_experts} experts, but the head has '
                    f'num_experts={num_experts}.'
                )

    def expert_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits (E, N, C) of the last features (E, N, D).

        Raises:
            ValueError: features of another number of experts or another width, or of a network without experts.
        """
        features = feats[-1]
        if features.dim() == 3 and len(features) == self.num_experts and features.size(2) != self.in_channels:
            raise ValueError(
                f'MultiExpertClsHead: expected features of width in_channels={self.in_channels}, but got '
                f'{tuple(features.shape)}. Set in_channels={features.size(2)}.'
            )
        if features.dim() != 3 or len(features) != self.num_experts:
            raise ValueError(
                f'MultiExpertClsHead: expected features of shape ({self.num_experts}, N, {self.in_channels}), but got '
                f'{tuple(features.shape)}. Use a multi-expert backbone, such as ltmm.MultiExpertResNet, with '
                f'num_experts={self.num_experts}.'
            )
        return torch.stack(self.fc(features.unbind(0)))

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """What the classifiers see, side by side, (N, E D)."""
        return feats[-1].transpose(0, 1).flatten(1)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Aggregated logits (N, C) of the last features (E, N, D)."""
        return self.aggregation(self.expert_logits(feats))

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        """The terms of the loss.

        Args:
            feats: last of them the features (E, V N, D) of V views.
            data_samples: labels of the N images, or, after Mixup, soft labels.
            kwargs: what else the loss takes.
        """
        return self._get_loss(self.expert_logits(feats), data_samples, **kwargs)

    def _get_loss(self, expert_logits: Tensor, data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        if 'gt_score' in data_samples[0]:
            label = torch.stack([sample.gt_score for sample in data_samples])  # (N, C)
        else:
            label = torch.cat([sample.gt_label for sample in data_samples])  # (N,)
        return self.loss_module(expert_logits, label, **kwargs)

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Scores and label of the aggregated logits, and the scores of each expert."""
        predictions = super().predict(feats, data_samples)
        scores = self.expert_logits(feats).softmax(-1).transpose(0, 1)  # (N, E, C)
        for sample, score in zip(predictions, scores):
            sample.set_field(score, 'expert_scores')
        return predictions
