"""A client: trains the weights that it gets on its own data, and knows neither the loop nor other clients."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from .aggregate import State

__all__ = ['copy_state', 'cross_entropy_step', 'load_state', 'reset_optimizer', 'train_client', 'train_one_expert']

Step = Callable[[int, Any], Any]
PRIVATE = 'class_distribution.'  # counts of the classes are handed out, not averaged


def copy_state(model: nn.Module) -> State:
    """Return copies of all parameters and buffers that clients and server exchange, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items() if PRIVATE not in name}


@torch.no_grad()
def load_state(model: nn.Module, state: State) -> None:
    """Write a state of :func:`copy_state` into a model."""
    own = model.state_dict()
    for name, value in state.items():
        own[name].copy_(value)


def sampler_of(loader: DataLoader) -> Sampler:
    """Return the sampler of images, which may be inside the sampler of batches."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def reset_optimizer(optim_wrapper: OptimWrapper) -> None:
    """Forget momentum and gradients, as if the optimizer were new; the learning rate stays."""
    optim_wrapper.optimizer.state.clear()
    optim_wrapper.zero_grad()


@contextmanager
def train_one_expert(model: nn.Module, expert: int | None) -> Iterator[None]:
    """Freeze the other experts; what all share keeps training, and batch-norm of frozen experts keeps counting.

    Args:
        model: A model whose experts are in :class:`~ltmm.models.layers.per_expert.PerExpert`.
        expert: The expert to train; None trains all.
    """
    others = [
        parameter
        for name, parameter in model.named_parameters()
        if expert is not None and 'experts.' in name and f'experts.{expert}.' not in name and parameter.requires_grad
    ]
    losses = [module for module in model.modules() if hasattr(module, 'set_expert')]
    for loss in losses:
        loss.set_expert(expert)
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
        for loss in losses:
            loss.set_expert(None)


@contextmanager
def _pulled_back(model: nn.Module, optim_wrapper: OptimWrapper, strength: float) -> Iterator[None]:
    r"""Add the gradient of FedProx, :math:`\mu (w - w_{server})`, before each step of the optimizer."""
    if not strength:
        yield
        return
    pairs = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]

    @torch.no_grad()
    def pull(*args: Any) -> None:
        for parameter, start in pairs:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=strength)

    handle = optim_wrapper.optimizer.register_step_pre_hook(pull)
    try:
        yield
    finally:
        handle.remove()


def cross_entropy_step(model: nn.Module, optim_wrapper: OptimWrapper) -> Step:
    """Return a step of plain cross entropy of the model's logits, the mean of the experts', whatever its loss.

    Args:
        model: A classifier of mmpretrain.
        optim_wrapper: Its optimizer.
    """

    def step(index: int, batch: Any) -> Tensor:
        with optim_wrapper.optim_context(model):
            batch = model.data_preprocessor(batch, True)
            logits = model(batch['inputs'], batch['data_samples'], mode='tensor')
            loss = F.cross_entropy(logits, torch.cat([sample.gt_label for sample in batch['data_samples']]))
        optim_wrapper.update_params(loss)
        return loss.detach()

    return step


def train_client(
    model: nn.Module,
    state: State,
    loader: Iterable,
    optim_wrapper: OptimWrapper,
    epochs: int = 1,
    proximal: float = 0.0,
    expert: int | None = None,
    step: Step | None = None,
    first_epoch: int = 0,
) -> State:
    r"""Train from the weights of the server on the data of a client, and return the new weights.

    A client of a federated framework is a thin class around this function. With ``proximal`` :math:`\mu > 0` it is
    FedProx, :math:`\ell + \frac{\mu}{2} \|w - w_{server}\|^2`, which keeps clients with other head classes from running
    apart.

    [0] Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, arXiv 1812.06127.

    Args:
        model: The model; it holds the new weights afterwards.
        state: Weights of the server.
        loader: Batches of the client, passed over ``epochs`` times.
        optim_wrapper: Optimizer, which starts without momentum.
        epochs: Local epochs.
        proximal: :math:`\mu`; 0 for FedAvg.
        expert: The only expert to train; None for all.
        step: Function from the number of the batch and the batch to anything, which takes a step; by default
            ``model.train_step``.
        first_epoch: Number of the first epoch, for samplers that shuffle by it.
    """
    if step is None:

        def step(index: int, batch: Any) -> Any:
            return model.train_step(batch, optim_wrapper)

    load_state(model, state)
    reset_optimizer(optim_wrapper)
    model.train()
    index = 0
    with train_one_expert(model, expert), _pulled_back(model, optim_wrapper, proximal):
        for epoch in range(first_epoch, first_epoch + epochs):
            if isinstance(loader, DataLoader) and hasattr(sampler_of(loader), 'set_epoch'):
                sampler_of(loader).set_epoch(epoch)
            for batch in loader:
                step(index, batch)
                index += 1
    return copy_state(model)
