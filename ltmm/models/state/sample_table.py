"""Values that belong to single training samples, such as weights, clusters or corrected labels."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from ltmm.utils.checks import check

from .base import TrainingState, gather_rows

__all__ = ['SampleTable', 'sample_indices']


class SampleTable(TrainingState):
    """One value per training sample, found by the ``sample_idx`` of its data sample.

    Datasets stay as they are: their workers would not see a change. What any rank writes, all ranks read.

    Args:
        num_samples: N, larger than any ``sample_idx``. 0 where :meth:`resize` or a checkpoint brings it.
        *shape: Shape of the value of a sample.
        fill: Value before the first write.
        dtype: Of the values.

    Attributes:
        values: ``(N, *shape)``.

    Examples:
        >>> weights = SampleTable(5, fill=1.0)
        >>> weights.write(torch.tensor([3, 0]), torch.tensor([0.5, 2.0]))
        >>> weights.read(torch.tensor([0, 1, 3]))
        tensor([2.0000, 1.0000, 0.5000])
    """

    def __init__(self, num_samples: int, *shape: int, fill: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        check(num_samples=(num_samples, 'int >= 0'))
        super().__init__()
        self.fill = fill
        self.register_buffer('values', torch.full((num_samples, *shape), fill, dtype=dtype))

    @property
    def needs_whole_batch(self) -> bool:
        return False

    def read(self, sample_idx: Tensor) -> Tensor:
        """Copy the values of some samples, ``(B, *shape)``.

        Args:
            sample_idx: (B,).
        """
        return self.values[sample_idx]

    @torch.no_grad()
    def write(self, sample_idx: Tensor, values: Tensor) -> None:
        """Replace the values of some samples, on all ranks; does nothing in evaluation mode.

        Of several values for one sample the last counts, in the order of the ranks and of the rows.

        Args:
            sample_idx: (B,).
            values: ``(B, *shape)``.
        """
        if not self.training:
            return
        sample_idx, values = gather_rows(sample_idx.to(self.values.device), values.to(self.values))
        order = sample_idx.argsort(stable=True)
        last = order[torch.searchsorted(sample_idx[order], sample_idx, right=True) - 1]  # last row of the same sample
        self.values.index_copy_(0, sample_idx, values[last])

    def resize(self, num_samples: int) -> None:
        """Change the number of samples; new ones have the value ``fill``."""
        old = self.values
        self.values = old.new_full((num_samples, *old.shape[1:]), self.fill)
        self.values[: len(old)] = old[:num_samples]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if f'{prefix}values' in state_dict and not len(self.values):
            self.resize(len(state_dict[f'{prefix}values']))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'{tuple(self.values.shape)}, fill={self.fill}'


def sample_indices(data_samples: Sequence[BaseDataElement]) -> Tensor | None:
    """Return the ``sample_idx`` of a batch, (N,), or None if the data samples have none.

    Datasets set ``sample_idx``, and mmpretrain's ``PackInputs`` passes it on unless its ``meta_keys`` leave it out.
    With :class:`ltmm.datasets.FeatureDataset` one data sample stands for a whole batch.
    """
    if not all('sample_idx' in sample for sample in data_samples):
        return None
    return torch.cat([torch.atleast_1d(torch.as_tensor(sample.sample_idx)) for sample in data_samples])
