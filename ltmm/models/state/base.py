"""Base of the modules that keep state while training, and how their ranks agree."""

from collections.abc import Callable

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor, nn

__all__ = ['NeedsWholeBatch', 'TrainingState', 'gather_rows', 'gather_with_own']


class NeedsWholeBatch:
    """Mixin of modules that treat a batch in pieces differently from the whole batch.

    Pieces on several ranks are fine: the ranks talk to each other. Pieces one after the other, as gradient accumulation
    makes them, cannot, so :class:`ltmm.engine.RanksHook` refuses it.
    """

    @property
    def needs_whole_batch(self) -> bool:
        """Whether this module, with its settings, does so."""
        return True


class TrainingState(NeedsWholeBatch, nn.Module):
    """Base of modules that keep something while training.

    The state lives in buffers: it is saved with the model, and does not lose precision when the model is cast (half
    precision cannot count to 2049). An update does nothing in evaluation mode. It reduces over the ranks, so that every
    rank holds the same; therefore every rank has to update equally often, with an empty batch if need be.
    """

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        exact = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in exact.items():
            if value is not None:
                cast = self._buffers[name]
                self._buffers[name] = value.to(cast.device, torch.promote_types(value.dtype, cast.dtype))
        return self


@torch.no_grad()
def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Concatenate the rows of all ranks, in the order of the ranks.

    Args:
        tensors: of shape (N, ...), with the same N; N may differ between ranks and be 0.
    """
    if get_world_size() == 1:
        return tuple(tensor.detach() for tensor in tensors)
    num_rows = torch.tensor([len(tensors[0])], device=tensors[0].device)
    num_rows = torch.cat(all_gather(num_rows)).tolist()
    if not any(num_rows):
        return tensors
    gathered = []
    for tensor in tensors:
        padded = tensor.new_zeros(max(num_rows), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        gathered.append(torch.cat([part[:n] for part, n in zip(all_gather(padded), num_rows)]))
    return tuple(gathered)


@torch.no_grad()
def gather_with_own(*tensors: Tensor) -> tuple[list[Tensor], slice]:
    """Concatenate the rows of all ranks, see :func:`gather_rows`, and return where the own ones are in them."""
    num_rows = len(tensors[0])
    if get_world_size() == 1:
        return [tensor.detach() for tensor in tensors], slice(0, num_rows)
    rank = torch.full((num_rows,), get_rank(), device=tensors[0].device)
    *gathered, rank_of_row = gather_rows(*tensors, rank)
    start = int((rank_of_row < get_rank()).sum())
    return gathered, slice(start, start + num_rows)
