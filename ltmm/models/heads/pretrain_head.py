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

    If the objective needs no labels (``needs_labels = False``), as :class:`~ltmm.models.MomentumContrastLoss`, images
    without exactly one get label -1.

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
        label = self._labels_of(data_samples, features.device)
        return self.loss_module(LossInputs(label, features=features, sample_idx=sample_indices(data_samples), **kwargs))

    def predict(self, feats: tuple[Tensor, ...], data_samples: list[DataSample] | None = None) -> NoReturn:
        raise InputError(
            'PretrainHead predicts no classes: set val_cfg, val_dataloader and val_evaluator of the pre-training to '
            'None, and test a classifier that is trained on its backbone.'
        )

    def _labels_of(self, data_samples: list[DataSample], device: torch.device) -> Tensor:
        """Return class indices (N,), -1 for images without a label or, in multi-label data, with another number."""
        labels = [sample.get('gt_label') for sample in data_samples]
        known = [label is not None and label.numel() == 1 for label in labels]
        if self.loss_module.needs_labels and not all(known):
            raise InputError(
                f'{type(self.loss_module).__name__} needs one label (`gt_label`) of each image, but got '
                f'{labels[known.index(False)]}.'
            )
        unknown = torch.tensor([-1], device=device)
        return torch.cat([label.to(device) if is_known else unknown for label, is_known in zip(labels, known)])
