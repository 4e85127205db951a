"""Several views of each image in one batch."""

from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import Tensor

from ltmm.models.batch_augments import BatchAugment
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['MultiViewDataPreprocessor']


@MODELS.register_module()
class MultiViewDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's ``ClsDataPreprocessor`` for single images or the views of its ``MultiView`` transform.

    V views of N images become one view-major batch (V N, C, H, W), so batch norm sees all views together; there are
    still N data samples. The dataloader needs ``collate_fn=dict(type='default_collate')``. Batch augmentations have to
    be of several views, as ``ltmm.GlobalLocalMix`` is.

    Args:
        *args: Of ``ClsDataPreprocessor``.
        **kwargs: Of ``ClsDataPreprocessor``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for augment in [] if self.batch_augments is None else self.batch_augments.augments:
            if augment is not None and not (isinstance(augment, BatchAugment) and augment.num_views > 1):
                raise InputError(
                    'MultiViewDataPreprocessor supports batch augmentations of several views, such as '
                    f'ltmm.GlobalLocalMix, but got {type(augment).__name__}: remove it from `augments` in train_cfg.'
                )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Stack, convert and normalize the views.

        Args:
            data: ``inputs``, a tensor (N, C, H, W) or a list of V such tensors, and ``data_samples``.
            training: As in ``ClsDataPreprocessor``.
        """
        if 'inputs' not in data:
            raise InputError(
                f"Expected batches with 'inputs', but got {sorted(data)}: the pipeline must end in PackInputs."
            )
        views = data['inputs']
        if isinstance(views, (list, tuple)):
            if not isinstance(views[0], Tensor) or views[0].dim() != 4:
                raise InputTypeError(
                    'MultiViewDataPreprocessor expects batches (N, C, H, W) of each view: set '
                    "collate_fn=dict(type='default_collate') in the dataloader."
                )
            if len(shapes := {tuple(view.shape) for view in views}) > 1:
                raise InputError(
                    f'MultiViewDataPreprocessor: expected views of one size, but got {sorted(shapes)}: crop or resize '
                    'them alike in the pipeline.'
                )
            data = {**data, 'inputs': torch.cat(list(views))}
        return super().forward(data, training)
