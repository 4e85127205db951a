"""Separate layers for each expert."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltmm.utils.errors import InputError

__all__ = ['GroupedExperts', 'PerExpert', 'single_name']


def single_name(name: str) -> str:
    """Return the name of an expert's parameter in a network with a single expert."""
    return re.sub(r'(^|\.)experts\.\d+\.', r'\1', name)


class PerExpert(nn.Module):
    """E copies of a module, one per expert.

    A state dict of a single module (``layer3.0.conv1.weight`` instead of ``layer3.experts.0.0.conv1.weight``) is loaded
    into all experts, so that they can start from a pretrained network.

    Args:
        build: Returns a copy; called E times, so every expert has its own random initialization.
        num_experts: E.
    """

    def __init__(self, build: Callable[[], nn.Module], num_experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(build() for _ in range(num_experts))

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the E outputs for E inputs, or for one input shared by all experts."""
        if len(inputs) == 1:
            inputs = [*inputs] * len(self.experts)
        return [expert(x) for expert, x in zip(self.experts, inputs, strict=True)]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        single = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        experts = {name.split('.')[1] for name in single if name.startswith('experts.')}
        if experts and len(experts) != len(self.experts):
            raise InputError(
                f'Expected the checkpoint to have {len(self.experts)} experts in {prefix.rstrip(".")}, like the model, '
                f'but it has {len(experts)}. Set num_experts={len(experts)} in backbone and head.'
            )
        if not experts:
            for name, value in single.items():
                del state_dict[prefix + name]
                for e in range(len(self.experts)):
                    state_dict[f'{prefix}experts.{e}.{name}'] = value
        super()._load_from_state_dict(state_dict, prefix, *args)


class GroupedExperts(nn.Module):
    """The layers of E experts as one module with grouped convolutions, on channels side by side.

    Args:
        module: Maps (N, E C, H, W) to (N, E C', H', W').
        num_experts: E.
    """

    def __init__(self, module: nn.Module, num_experts: int) -> None:
        super().__init__()
        self.module, self.num_experts = module, num_experts

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the E outputs for E inputs (N, C, H, W), or for one input shared by all experts."""
        if len(inputs) == 1:
            inputs = [*inputs] * self.num_experts
        return list(self.module(torch.cat([*inputs], dim=1)).chunk(self.num_experts, dim=1))
