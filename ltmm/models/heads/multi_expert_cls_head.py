"""Classification head of several experts: one classifier per expert, one prediction."""

from collections.abc import Sequence
from functools import partial

import torch
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.layers.per_expert import PerExpert
from ltmm.models.losses.expert import ExpertLoss
from ltmm.models.losses.objective import LossInputs, Objective
from ltmm.models.state.sample_table import sample_indices
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

from .base import LongTailHeadMixin, ScoresMixin
from .expert_aggregation import EvidentialAggregation, WeightedAggregation

__all__ = ['MultiExpertClsHead']


@MODELS.register_module()
class MultiExpertClsHead(ScoresMixin, LongTailHeadMixin, ClsHead):
    """Classification head with a classifier per expert; its checkpoints carry the class distribution.

    At test time the logits of the experts are aggregated to one prediction; the data samples also hold the scores of
    each expert, as ``expert_scores``, (E, C), and with ``ltmm.EvidentialAggregation`` the ``uncertainty``, ().
    Scores follow the loss, as those of :class:`LongTailClsHead` do.

    Args:
        num_classes: C.
        in_channels: D, width of the features of each expert.
        num_experts: E.
        loss: Loss of several experts, such as ``ltmm.RIDELoss``, or another objective of ltmm. ``ltmm.PerExpertLoss``
            applies a loss of a single classifier to each expert.
        aux_losses: Objectives beside the main loss, see :class:`LongTailClsHead`.
        classifier: Layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``, once per expert.
        aggregation: Module from logits (E, N, C) to (N, C).
        class_counts: Training images per class. Default: taken from the training data.
        init_cfg: Initialization of the classifiers; the default leaves a cosine layer as it is.
    """

    accepts = (ExpertLoss, Objective)
    provides = (*LongTailHeadMixin.provides, 'expert_logits')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_experts: int,
        loss: dict,
        aux_losses: Sequence[dict] = (),
        classifier: dict = dict(type='ltmm.Linear'),
        aggregation: dict = dict(type='ltmm.MeanAggregation'),
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        super().__init__(loss=loss, init_cfg=init_cfg)
        self.num_classes, self.in_channels, self.num_experts = num_classes, in_channels, num_experts
        layer = dict(in_features=in_channels, out_features=num_classes, **classifier)
        self.fc = PerExpert(partial(MMPRETRAIN_MODELS.build, layer), num_experts)
        self.aggregation = MMPRETRAIN_MODELS.build(aggregation)
        if not isinstance(self.loss_module, Objective):
            raise InputTypeError(
                f'MultiExpertClsHead accepts ExpertLoss or Objective, but got {type(self.loss_module).__name__}: '
                "loss=dict(type='ltmm.PerExpertLoss', loss=...) applies it to each expert."
            )
        self.init_losses(num_classes, class_counts, aux_losses)
        self.init_scores()
        check_num_experts(num_experts, self.loss_module, self.aggregation)

    def expert_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return logits (E, N, C) of the last features (E, N, D); in evaluation mode with the scale of the loss."""
        return self.scaled(self._logits(feats))

    def _logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        features, expected = feats[-1], (self.num_experts, 'N', self.in_channels)
        if features.dim() != 3 or features.shape[::2] != expected[::2]:
            raise InputError(
                f'{type(self).__name__}: expected features ({", ".join(map(str, expected))}) of num_experts and '
                f'in_channels, but got {tuple(features.shape)}. Multi-expert backbones, such as '
                'ltmm.MultiExpertResNet, give them; set their num_experts too.'
            )
        return torch.stack(self.fc(features.unbind(0)))

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the inputs of the classifiers side by side, (N, E D)."""
        return feats[-1].transpose(0, 1).flatten(1)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return aggregated logits (N, C) of the last features (E, N, D)."""
        return self.aggregation(self.expert_logits(feats))

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            feats: Features, the last of them (E, V N, D) of V views.
            data_samples: Labels of the N images; soft labels after Mixup.
            kwargs: Further fields of :class:`LossInputs`, such as ``teacher_logits``.
        """
        expert_logits = self._logits(feats)
        inputs = LossInputs(
            label=self.labels_of(data_samples),
            cls_score=self.aggregation(expert_logits),
            features=self.pre_logits(feats),
            sample_idx=sample_indices(data_samples),
            expert_logits=expert_logits,
            classifier=self.fc,
            **kwargs,
        )
        return self.compute_losses(inputs)

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Return scores and label of the aggregated logits, and the scores of each expert."""
        predictions = super().predict(feats, data_samples)
        expert_logits = self.expert_logits(feats)
        for sample, score in zip(predictions, self.scores(expert_logits).unbind(1)):
            sample.set_field(score, 'expert_scores')  # (E, C)
        if isinstance(self.aggregation, EvidentialAggregation):
            for sample, uncertainty in zip(predictions, self.aggregation.uncertainty(expert_logits)):
                sample.set_field(uncertainty, 'uncertainty')
        return predictions


def check_num_experts(num_experts: int, *parts: torch.nn.Module) -> None:
    """Refuse a loss or an aggregation of another number of experts."""
    for part in parts:
        if isinstance(part, (ExpertLoss, WeightedAggregation)) and part.num_experts not in (None, num_experts):
            raise InputError(f'{type(part).__name__} is for {part.num_experts} experts, but num_experts={num_experts}.')
