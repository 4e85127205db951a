"""Classifier that learns from labeled and unlabeled images."""

from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.losses.semi.base import SemiSupervisedLoss
from ltmm.models.state.sample_table import sample_indices
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['SemiSupervisedClassifier']

USE_PARTS = (
    "use dataset=dict(type='ltmm.SemiSupervised', ...), sampler=dict(type='ltmm.SemiSupervisedSampler') and "
    "collate_fn=dict(type='ltmm.semi_supervised_collate') in train_dataloader, and "
    "data_preprocessor=dict(type='ltmm.SemiSupervisedDataPreprocessor')."
)


@MODELS.register_module()
class SemiSupervisedClassifier(ImageClassifier):
    """Classifier whose loss sees labeled and unlabeled images: FixMatch, ACR, SimPro, ADELLO.

    Batches are those of ``ltmm.SemiSupervised``: V views of N labeled and W views of M unlabeled images, which pass
    backbone and neck together, so that batch norm sees all of them. The head, an ``ltmm.LongTailClsHead`` with a
    :class:`~ltmm.models.losses.semi.base.SemiSupervisedLoss`, gets the logits of both; no true label of the
    unlabeled images reaches it. Their averaged weights, which are what these methods are tested with, are MMEngine's
    ``EMAHook`` with ``ema_type='ltmm.AverageFromStart'``.

    Args:
        *args: Of mmpretrain's ``ImageClassifier``.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(getattr(self.head, 'loss_module', None), SemiSupervisedLoss):
            raise InputTypeError(
                'SemiSupervisedClassifier needs a head with a loss of labeled and unlabeled images, such as '
                f'ltmm.FixMatchLoss, but got {type(getattr(self.head, "loss_module", None)).__name__}.'
            )

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list[DataSample]]) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            inputs: ``labeled`` (V N, C, H, W) and ``unlabeled`` (W M, C, H, W).
            data_samples: ``labeled`` and ``unlabeled``; of the latter only ``sample_idx`` and ``also_labeled`` are
                read.
        """
        labeled, unlabeled = self._parts(inputs, data_samples)
        num_rows, num_images = len(inputs['labeled']), len(unlabeled)
        feats = self.extract_feat(torch.cat([inputs['labeled'], inputs['unlabeled']]))
        rows = feats[-1].split([num_rows, len(feats[-1]) - num_rows])
        also_labeled = [sample.get('also_labeled', False) for sample in unlabeled]
        idx = sample_indices(unlabeled)
        return self.head.loss(
            (rows[0],),
            labeled,
            unlabeled_score=self.head((rows[1],)).unflatten(0, (-1, num_images)),
            unlabeled_features=self.head.pre_logits((rows[1],)).unflatten(0, (-1, num_images)),
            unlabeled_idx=None if idx is None else idx.to(rows[1].device),
            also_labeled=torch.tensor(also_labeled, device=rows[1].device),
        )

    def _parts(self, inputs: Any, data_samples: Any) -> tuple[list[DataSample], list[DataSample]]:
        """Check that there are both parts, and that labels are where they belong."""
        if not isinstance(data_samples, dict):
            raise InputError(f'SemiSupervisedClassifier: expected labeled and unlabeled images, but {USE_PARTS}')
        labeled, unlabeled = data_samples['labeled'], data_samples['unlabeled']
        if not labeled or not unlabeled:
            raise InputError(
                f'SemiSupervisedClassifier: expected labeled and unlabeled images in every batch, but got '
                f'{len(labeled)} and {len(unlabeled)}: set a batch_size that holds both, and {USE_PARTS}'
            )
        if any('gt_label' in sample or 'gt_score' in sample for sample in unlabeled):
            raise InputError(
                'SemiSupervisedClassifier: an unlabeled image carries its label, which losses must not see: '
                + USE_PARTS
            )
        return labeled, unlabeled
