"""mmdet's box heads with the losses of ltmm."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads import bbox_heads as mmdet_heads
from mmdet.models.task_modules.samplers import SamplingResult
from torch import Tensor, nn

from ltmm.models.heads.base import ChecksLosses
from ltmm.models.losses.detection.base import BoxHeadInterface, BoxHeadLoss
from ltmm.models.losses.objective import LossInputs, Objective, merge_terms
from ltmm.registry import MODELS

__all__ = ['ConvFCBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead']


class BBoxHeadMixin(ChecksLosses):
    r"""Mixin of mmdet's ConvFC box heads for losses of ltmm.

    - The bias of the classifier starts at :math:`-\log((1 - p) / p)` with the ``prior_prob`` p of the loss, unless
      ``init_cfg`` is given.
    - The loss is called on batches without proposals too, so that losses with state do not hang on several ranks.
    - ``loss_cls`` may be an objective, and ``aux_losses`` are added; both see the embedding before ``fc_cls``.

    Args:
        *args: Arguments of mmdet's head.
        aux_losses: Objectives beside ``loss_cls``; each config may have a ``weight`` and a ``name``.
        **kwargs: Arguments of mmdet's head.
    """

    accepts = (BoxHeadLoss, Objective)
    provides = ('cls_score', 'label', 'features', 'classifier', 'loss', 'weight', 'avg_factor', 'object_idx')

    def __init__(self, *args: Any, aux_losses: Sequence[dict] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.init_aux_losses(self.loss_cls, aux_losses)
        if isinstance(self.loss_cls, BoxHeadInterface) and self.with_cls and kwargs.get('init_cfg') is None:
            if self.loss_cls.prior_prob is not None:
                (init_fc_cls,) = (cfg for cfg in self.init_cfg if cfg['override'] == dict(name='fc_cls'))
                init_fc_cls['bias_prob'] = self.loss_cls.prior_prob
        if isinstance(self.loss_cls, Objective):
            self.loss_cls = ObjectiveOfBoxes(self.loss_cls)
        self.has_objectives = bool(self.aux_losses) or isinstance(self.loss_cls, ObjectiveOfBoxes)
        self._features: Tensor | None = None
        self._object_idx: Tensor | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and box deltas, and keep the embedding before ``fc_cls`` for objectives."""
        if not (self.has_objectives and self.training):
            return super().forward(x)
        hook = self.fc_cls.register_forward_pre_hook(self._keep_features)
        try:
            return super().forward(x)
        finally:
            hook.remove()

    def _keep_features(self, classifier: nn.Module, args: tuple[Tensor]) -> None:
        self._features = args[0]

    def loss_and_target(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        sampling_results: list[SamplingResult],
        *args: Any,
        **kwargs: Any,
    ) -> dict:
        """Compute the losses, and tell objectives which object each proposal is matched to."""
        if self.has_objectives:
            self._object_idx = object_indices(sampling_results)
        return super().loss_and_target(cls_score, bbox_pred, rois, sampling_results, *args, **kwargs)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> dict:
        """Compute mmdet's losses and the auxiliary ones."""
        inputs = self._loss_inputs(cls_score, labels, label_weights) if self.has_objectives else None
        if isinstance(self.loss_cls, ObjectiveOfBoxes):
            self.loss_cls.inputs = inputs
        losses = super().loss(cls_score, bbox_pred, rois, labels, label_weights, *args, **kwargs)
        if cls_score is not None and not cls_score.numel():  # mmdet has skipped it
            loss_cls = self.loss_cls(cls_score, labels, label_weights, avg_factor=0.0)
            losses.update(loss_cls if isinstance(loss_cls, dict) else dict(loss_cls=loss_cls))
        if not self.aux_losses:
            return losses
        main = {name: losses.pop(name) for name in list(losses) if 'loss' in name and 'bbox' not in name}
        return losses | merge_terms(main, self.aux_losses, inputs)

    def _loss_inputs(self, cls_score: Tensor, labels: Tensor, label_weights: Tensor) -> LossInputs:
        features, self._features = self._features, None
        object_idx, self._object_idx = self._object_idx, None
        return LossInputs(
            label=labels,
            cls_score=cls_score,
            features=features,
            classifier=self.fc_cls,
            weight=label_weights,
            avg_factor=(label_weights > 0).sum().item(),  # as mmdet counts it, but 0 on a rank without proposals
            object_idx=object_idx,
        )


def object_indices(sampling_results: list[SamplingResult]) -> Tensor:
    """Return the object of the batch that each proposal is matched to, (N,); -1 for background.

    Args:
        sampling_results: Proposals of each image, with those matched to an object first.
    """
    indices, num_objects = [], 0
    for result in sampling_results:
        matched = result.pos_assigned_gt_inds
        indices += [matched + num_objects, matched.new_full((len(result.neg_priors),), -1)]
        num_objects += result.num_gts
    return torch.cat(indices)


class ObjectiveOfBoxes(nn.Module):
    """An objective as ``loss_cls`` of a box head, which calls it with logits and labels.

    mmdet's head asks it for scores if the objective has them.

    Args:
        objective: The objective.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        has_scores = isinstance(objective, BoxHeadInterface)
        self.custom_cls_channels = self.custom_activation = self.custom_accuracy = has_scores
        self.use_sigmoid = objective.use_sigmoid if has_scores else False
        self.inputs: LossInputs | None = None

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        inputs, self.inputs = self.inputs, None
        return self.objective(inputs)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """See :class:`BoxHeadInterface`."""
        return self.objective.get_activation(cls_score)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See :class:`BoxHeadInterface`."""
        return self.objective.get_accuracy(cls_score, labels)


@MODELS.register_module()
class ConvFCBBoxHead(BBoxHeadMixin, mmdet_heads.ConvFCBBoxHead):
    """mmdet's ConvFCBBoxHead for losses of ltmm, see :class:`BBoxHeadMixin`."""


@MODELS.register_module()
class Shared2FCBBoxHead(BBoxHeadMixin, mmdet_heads.Shared2FCBBoxHead):
    """mmdet's Shared2FCBBoxHead for losses of ltmm, see :class:`BBoxHeadMixin`."""


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(BBoxHeadMixin, mmdet_heads.Shared4Conv1FCBBoxHead):
    """mmdet's Shared4Conv1FCBBoxHead for losses of ltmm, see :class:`BBoxHeadMixin`."""
