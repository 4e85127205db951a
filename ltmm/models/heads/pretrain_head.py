"""Head for pre-training: an objective of the features, and no classifier."""

from typing import NoReturn

import torch
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.losses.objective import LossInputs, Objective
from ltmm.models.state.sample_table import sample_indices
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

from .base import ChecksLosses

__all__ = ['PretrainHead']


@MODELS.register_module()
class PretrainHead(ChecksLosses, ClsHead):
    """Head for pre-training: an objective of the features, and no classifier.

    Images without labels get label -1, if the objective needs none (``needs_labels = False``), such as
    :class:`~ltmm.models.MomentumContrastLoss`.

    Args:
        loss: Config of an :class:`~ltmm.models.losses.Objective`.
        init_cfg: Initialization of the head.
    """

    accepts = (Objective,)
    provides = ('features', 'label', 'sample_idx', 'key_features')

    def __init__(self, loss: dict, init_cfg: dict | list | None = None) -> None:
        super().__init__(loss=loss, init_cfg=init_cfg)
        if not isinstance(self.loss_module, Objective):
            raise InputTypeError(f'PretrainHead accepts an Objective, but got {type(self.loss_module).__name__}.')
        self.init_aux_losses(self.loss_module, ())

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the features (N, D) of the last stage."""
        return self.pre_logits(feats)

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        """Compute the terms of the objective.

        Args:
            feats: Features, the last of them (V N, D) of V views.
            data_samples: The N images.
            kwargs: Further fields of :class:`LossInputs`, such as ``key_features``.
        """
        features = self.pre_logits(feats)
        label = self._labels_of(data_samples).to(features.device)
        return self.loss_module(LossInputs(label, features=features, sample_idx=sample_indices(data_samples), **kwargs))

    def predict(self, feats: tuple[Tensor, ...], data_samples: list[DataSample] | None = None) -> NoReturn:
        raise InputError(
            'PretrainHead predicts no classes: set val_cfg, val_dataloader and val_evaluator of the pre-training to '
            'None, and test a classifier that is trained on its backbone.'
        )

    def _labels_of(self, data_samples: list[DataSample]) -> Tensor:
        """Return class indices (N,), -1 for images without."""
        if 'gt_label' in data_samples[0]:
            return torch.cat([sample.gt_label for sample in data_samples])
        if self.loss_module.needs_labels:
            raise InputError(f'{type(self.loss_module).__name__} needs labels, but the images have no `gt_label`.')
        return torch.full((len(data_samples),), -1)
