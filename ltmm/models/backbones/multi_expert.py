"""Base class of backbones with several experts."""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.models.layers.per_expert import GroupedExperts, PerExpert
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .resnet_cifar import fast_layout

__all__ = ['MultiExpertBackbone']


class MultiExpertBackbone(BaseModule):
    """Backbone in which some stages are separate for each expert and the others shared.

    A subclass adds its layers in order with :meth:`add`; the stages are named ``layer1``, ``layer2``, ... A shared
    stage after a separate one is applied to the features of each expert. A checkpoint of the same network with a
    single expert initializes all experts, unless they are grouped.

    Attributes:
        runs_experts_alone: Whether :meth:`expert_features` runs one expert without the others.

    Args:
        num_experts: E.
        num_stages: Number of stages.
        expert_stages: Stages that are separate for each expert, counted from 0.
        separate_stem: Make the stem separate too.
        init_cfg: Initialization.
    """

    runs_experts_alone = True

    def __init__(
        self,
        num_experts: int,
        num_stages: int,
        expert_stages: Sequence[int],
        separate_stem: bool,
        init_cfg: dict | list | None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check(num_experts=(num_experts, 'int >= 1'))
        if len({*expert_stages}) < len(expert_stages) or not {*expert_stages} <= {*range(num_stages)}:
            raise InputError(
                f'Expected `expert_stages` to be different stages out of {tuple(range(num_stages))}, '
                f'but got {tuple(expert_stages)}.'
            )
        self.num_experts, self.expert_stages, self.separate_stem = num_experts, tuple(expert_stages), separate_stem
        self.parts: list[str] = []

    def add(
        self,
        name: str,
        build: Callable[[], nn.Module],
        stage: int | None = None,
        build_grouped: Callable[[], nn.Module] | None = None,
    ) -> None:
        """Add the next layer.

        Args:
            name: Name of the layer.
            build: Returns the layer of one expert.
            stage: Index of the stage; None for a layer of the stem.
            build_grouped: Returns the layers of all experts as one module, in place of E times ``build``.
        """
        per_expert = self.separate_stem if stage is None else stage in self.expert_stages
        if not per_expert:
            layer = build()
        elif build_grouped is None:
            layer = PerExpert(build, self.num_experts)
        else:
            layer = GroupedExperts(build_grouped(), self.num_experts)
            self.runs_experts_alone = False
        self.add_module(name, layer)
        self.parts.append(name)

    def stage_maps(self, x: Tensor) -> list[list[Tensor]]:
        """Return the outputs of each stage: a single map (N, C, H, W) while everything is shared, then E maps."""
        maps, outputs = [fast_layout(x)], []
        for name in self.parts:
            part = getattr(self, name)
            maps = part(maps) if isinstance(part, (GroupedExperts, PerExpert)) else [part(path) for path in maps]
            if name.startswith('layer'):
                outputs.append(maps)
        return outputs

    @property
    def num_shared(self) -> int:
        """Number of layers before the first separate one."""
        is_separate = [isinstance(getattr(self, name), (GroupedExperts, PerExpert)) for name in self.parts]
        return is_separate.index(True) if True in is_separate else len(self.parts)

    def shared_map(self, x: Tensor) -> Tensor:
        """Return the map before the first separate layer, which all experts share."""
        x = fast_layout(x)
        for name in self.parts[: self.num_shared]:
            x = getattr(self, name)(x)
        return x

    def expert_features(self, shared: Tensor, expert: int) -> Tensor:
        """Return the features (N, D) of one expert.

        Args:
            shared: Of :meth:`shared_map`.
            expert: Index of the expert.
        """
        for name in self.parts[self.num_shared :]:
            part = getattr(self, name)
            shared = (part.experts[expert] if isinstance(part, PerExpert) else part)(shared)
        return shared.mean(dim=(2, 3))

    def pool(self, maps: Sequence[Tensor]) -> tuple[Tensor]:
        """Average the E maps, or the single shared map, over the pixels; returns features (E, N, D)."""
        features = torch.stack([path.mean(dim=(2, 3)) for path in maps])
        return (features.expand(self.num_experts, -1, -1),)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (E, N, D) of images (N, C, H, W), in the tuple that mmpretrain's heads expect."""
        return self.pool(self.stage_maps(x)[-1])
