"""Multi-label classification head with any classifier layer and any loss, for known and unknown labels."""

from collections.abc import Sequence

import torch
from mmpretrain.models.heads import MultiLabelClsHead as MMPretrainMultiLabelClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample, label_to_onehot
from torch import Tensor

from ltmm.models.losses.multi_label.base import MultiLabelLoss, check_targets
from ltmm.models.losses.objective import LossInputs, Objective
from ltmm.models.state.sample_table import sample_indices
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from .base import LongTailHeadMixin

__all__ = ['MultiLabelClsHead']


@MODELS.register_module()
class MultiLabelClsHead(LongTailHeadMixin, MMPretrainMultiLabelClsHead):
    """Multi-label head with any classifier layer and any loss; its checkpoints carry the class distribution.

    Targets are the ``gt_score`` (C,) of the data samples: 1 positive, 0 negative, -1 unknown; with only a ``gt_label``,
    all other classes are negative. Scores are sigmoids of the logits. Losses of mmpretrain work for data without
    unknown labels.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        loss: A multi-label loss of ltmm or mmpretrain, or an objective of ltmm.
        aux_losses: Objectives beside the main loss, see :class:`LongTailClsHead`.
        classifier: Layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``.
        class_counts: Training images per class. Default: taken from the training data.
        thr: Score from which a class is predicted; 0.5 if neither ``thr`` nor ``topk`` is given.
        topk: Number of classes to predict, if ``thr`` is not given.
        init_cfg: Initialization of the classifier; the default leaves a cosine layer as it is.
    """

    accepts = (MultiLabelLoss, Objective)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: dict,
        aux_losses: Sequence[dict] = (),
        classifier: dict = dict(type='ltmm.Linear'),
        class_counts: Sequence[int] | dict | str | None = None,
        thr: float | None = None,
        topk: int | None = None,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        super().__init__(loss=loss, thr=thr, topk=topk, init_cfg=init_cfg)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.fc = MMPRETRAIN_MODELS.build(dict(in_features=in_channels, out_features=num_classes, **classifier))
        self.init_losses(num_classes, class_counts, aux_losses)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return logits (N, C) of the last stage's features (N, D)."""
        return self.fc(self.checked_features(feats))

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            feats: Features, the last of them (N, D).
            data_samples: Labels of the N images.
            kwargs: Further fields of :class:`LossInputs`, such as ``teacher_logits``.
        """
        features = self.checked_features(feats)
        inputs = LossInputs(
            label=self.labels_of(data_samples),
            cls_score=self.fc(features),
            features=features,
            sample_idx=sample_indices(data_samples),
            classifier=self.fc,
            **kwargs,
        )
        return self.compute_losses(inputs)

    def labels_of(self, data_samples: Sequence[DataSample]) -> Tensor:
        """Return the labels of a batch, (N, C): 1 positive, 0 negative, -1 unknown."""
        self._check_labels(data_samples)
        targets = [
            sample.gt_score if 'gt_score' in sample else label_to_onehot(sample.gt_label, self.num_classes)
            for sample in data_samples
        ]
        return torch.stack([target.float() for target in targets])

    def main_loss(self, inputs: LossInputs) -> Tensor:
        if not isinstance(self.loss_module, MultiLabelLoss):
            check_targets(inputs.label, accepts_unknown=False, name=type(self.loss_module).__name__)
        return super().main_loss(inputs)

    def _check_labels(self, data_samples: Sequence[DataSample]) -> None:
        """Refuse labels of other classes than the head has."""
        for i, sample in enumerate(data_samples):
            if 'gt_score' in sample and sample.gt_score.shape != (self.num_classes,):
                found = f'`gt_score` of shape {tuple(sample.gt_score.shape)}'
            elif 'gt_score' not in sample and ((sample.gt_label < 0) | (sample.gt_label >= self.num_classes)).any():
                found = f'`gt_label` {sample.gt_label.tolist()}'
            else:
                continue
            raise InputError(
                f'{type(self).__name__} has num_classes={self.num_classes}, but image {i} of the batch has {found}.'
            )
