"""A part of a network that every expert has for itself."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

__all__ = ['PerExpert', 'single_name']


def single_name(name: str) -> str:
    """Name that a parameter of an expert has in a network with a single one."""
    return re.sub(r'(^|\.)experts\.\d+\.', r'\1', name)


class PerExpert(nn.Module):
    """E copies of a module, one an expert; the weights of a single one can be loaded into all of them.

    A state dict with the parameters of one module (``layer3.0.conv1.weight`` in place of
    ``layer3.experts.0.0.conv1.weight``) gives every expert the same weights, so that a pretrained single network is the
    start of all experts.

    Args:
        build: makes one copy; called E times, so that every expert has its own random start.
        num_experts: E.

    Raises:
        ValueError: when weights are loaded that are of another number of experts.
    """

    def __init__(self, build: Callable[[], nn.Module], num_experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(build() for _ in range(num_experts))

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """E outputs from the E inputs of the experts, or from the one input of all."""
        if len(inputs) == 1:
            inputs = [*inputs] * len(self.experts)
        return [expert(x) for expert, x in zip(self.experts, inputs, strict=True)]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        single = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        experts = {name.split('.')[1] for name in single if name.startswith('experts.')}
        if experts and len(experts) != len(self.experts):
            raise ValueError(
                f'Expected the checkpoint to have {len(self.experts)} experts in {prefix.rstrip(".")}, like the model, '
                f'but it has {len(experts)}. Set num_experts={len(experts)} in backbone and head.'
            )
        if not experts:
            for name, value in single.items():
                del state_dict[prefix + name]
                for e in range(len(self.experts)):
                    state_dict[f'{prefix}experts.{e}.{name}'] = value
        super()._load_from_state_dict(state_dict, prefix, *args)
