"""Views of labeled and of unlabeled images in one batch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from .multi_view_data_preprocessor import MultiViewDataPreprocessor

__all__ = ['SemiSupervisedDataPreprocessor']


@MODELS.register_module()
class SemiSupervisedDataPreprocessor(MultiViewDataPreprocessor):
    """Converts and normalizes batches of :func:`ltmm.datasets.semi_supervised_collate`, and ordinary ones in tests.

    The result has ``inputs`` and ``data_samples`` of both parts, ``dict(labeled=..., unlabeled=...)``: V views of N
    labeled images, view-major, (V N, C, H, W), and W views of M unlabeled ones, (W M, C, H, W). All views have the same
    size. Batch augmentations are not supported.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Stack, convert and normalize the views.

        Args:
            data: ``inputs`` with a list of views, each (N, C, H, W), of both parts, and ``data_samples`` of both.
            training: As in ``ClsDataPreprocessor``.
        """
        if not isinstance(data.get('inputs'), Mapping):
            return super().forward(data, training)
        if self.batch_augments is not None:
            raise InputError(
                'SemiSupervisedDataPreprocessor does not support batch augmentations: remove `augments` in train_cfg.'
            )
        samples = self.cast_data(data['data_samples'])
        views = [view for part in data['inputs'].values() for view in part]
        if len(shapes := {tuple(view.shape[1:]) for view in views}) > 1:
            raise InputError(
                f'SemiSupervisedDataPreprocessor: expected views of one size, but got {sorted(shapes)}: crop or resize '
                'them alike in both pipelines.'
            )
        inputs = super().forward(dict(inputs=torch.cat(views)), training)['inputs']
        sizes = [sum(map(len, part)) for part in data['inputs'].values()]
        parts: dict[str, Tensor] = dict(zip(data['inputs'], torch.split(inputs, sizes)))
        return dict(inputs=parts, data_samples=samples)
