"""The server: checks the weights that clients send, and averages them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ltmm.utils.errors import InputError

__all__ = ['ClientUpdate', 'State', 'fedavg', 'why_invalid']

State = dict[str, Tensor]


@dataclass(frozen=True)
class ClientUpdate:
    """Weights of a client after local training.

    Args:
        client: Index of the client.
        weight: Its weight in the average: its number of images.
        state: Tensors by name.
    """

    client: int
    weight: float
    state: State


def fedavg(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> State:
    r"""Average the tensors of clients, so that one with more images counts more: head classes do, too.

    .. math:: W = \sum_k \frac{n_k}{\sum_j n_j} W_k

    The means of integer tensors, such as the number of batches that batch-norm saw, are float64;
    :func:`~ltmm.tasks.federated.load_state` cuts them off.

    [0] McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017,
        arXiv 1602.05629.
    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``_aggregate``. Equal to [1] (tests/conformance,
        ``fed_gbme`` and ``trajectory_gbme``).

    Args:
        states: Tensors by name, of each client.
        weights: Weight of each client.
    """
    total = float(sum(weights))
    if not states or not total > 0:
        raise InputError(f'fedavg: expected clients with a positive weight, but got the weights {list(weights)}.')
    average = {}
    for name, first in states[0].items():
        dtype = first.dtype if first.is_floating_point() else torch.float64
        average[name] = (
            sum(weight * state[name].to(dtype) for state, weight in zip(states, weights, strict=True)) / total
        )
    return average


def why_invalid(state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> str | None:
    """Say why the server must not average a state: its tensors are others than its own, or not finite.

    Args:
        state: Tensors of a client.
        reference: Tensors of the server.

    Returns:
        The reason, or None.
    """
    if state.keys() != reference.keys():
        return f'other tensors: {sorted(state.keys() ^ reference.keys())[:3]}'
    shapes = [name for name, value in state.items() if value.shape != reference[name].shape]
    if shapes:
        name = shapes[0]
        return f'{name} of shape {tuple(state[name].shape)}, not {tuple(reference[name].shape)}'
    for name, value in state.items():
        own = reference[name].dtype
        if value.dtype != own and (value.is_floating_point() or own != torch.float64):  # which the mean of integers is
            return f'{name} of type {value.dtype}, not {own}'
    floating = [value for value in state.values() if value.is_floating_point()]
    if floating and not torch.stack([value.isfinite().all() for value in floating]).all():
        return 'values that are not finite'
    return None
