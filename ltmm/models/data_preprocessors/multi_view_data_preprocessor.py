"""Several views of each image in one batch."""

from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor

from ltmm.registry import MODELS

__all__ = ['MultiViewDataPreprocessor']


@MODELS.register_module()
class MultiViewDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's ``ClsDataPreprocessor`` for the views of its ``MultiView`` transform, and for single images.

    V views of N images become one batch (V N, C, H, W), view after view, so that batch norm sees all of them together;
    the N data samples stay N. The batches come from ``collate_fn=dict(type='default_collate')``.

    Args:
        *args: of ``ClsDataPreprocessor``.
        **kwargs: of ``ClsDataPreprocessor``.

    Raises:
        ValueError: batch augmentations, which mix images and labels one to one; or a batch without ``inputs``.
        TypeError: at a batch that is a list of single images.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.batch_augments is not None:
            raise ValueError(
                'MultiViewDataPreprocessor cannot mix images: leave `augments` out of the train_cfg of the model.'
            )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Stack, convert and normalise the views.

        Args:
            data: ``inputs``, a tensor (N, C, H, W) or a list of V such tensors, and ``data_samples``.
            training: as in ``ClsDataPreprocessor``.
        """
        if 'inputs' not in data:
            raise ValueError(
                f"Expected batches with 'inputs', but got {sorted(data)}: the pipeline must end in PackInputs."
            )
        views = data['inputs']
        if isinstance(views, (list, tuple)):
            if views[0].dim() != 4:
                raise TypeError(
                    'MultiViewDataPreprocessor expects batches (N, C, H, W) of each view: set '
                    "collate_fn=dict(type='default_collate') in the dataloader."
                )
            data = {**data, 'inputs': torch.cat(list(views))}
        return super().forward(data, training)
