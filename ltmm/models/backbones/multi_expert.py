"""What the multi-expert networks share: which stages every expert has for itself, and the way through them."""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.models.layers.per_expert import PerExpert

from .resnet_cifar import fast_layout

__all__ = ['MultiExpertBackbone']


class MultiExpertBackbone(BaseModule):
    """A network of which any set of stages exists once an expert, and the rest once.

    A subclass adds its layers in order by :meth:`add`, the stages as ``layer1``, ``layer2``, ... A shared stage behind
    a separate one has one set of weights and sees the features of each expert in turn. A checkpoint of the same
    network with a single expert starts all experts from its weights.

    Args:
        num_experts: E.
        num_stages: number of stages.
        expert_stages: stages that every expert has for itself, counted from 0.
        separate_stem: give every expert its own stem too.
        init_cfg: initialisation.

    Raises:
        ValueError: no expert, or a stage that does not exist.
    """

    def __init__(
        self,
        num_experts: int,
        num_stages: int,
        expert_stages: Sequence[int],
        separate_stem: bool,
        init_cfg: dict | list | None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_experts < 1:
            raise ValueError(f'Expected `num_experts` to be at least 1, but got {num_experts}.')
        if len({*expert_stages}) < len(expert_stages) or not {*expert_stages} <= {*range(num_stages)}:
            raise ValueError(
                f'Expected `expert_stages` to be different stages out of {tuple(range(num_stages))}, '
                f'but got {tuple(expert_stages)}.'
            )
        self.num_experts, self.expert_stages, self.separate_stem = num_experts, tuple(expert_stages), separate_stem
        self.parts: list[str] = []

    def add(self, name: str, build: Callable[[], nn.Module], stage: int | None = None) -> None:
        """Add the next layer.

        Args:
            name: of the layer.
            build: makes it.
            stage: the stage it is; None for a layer of the stem.
        """
        per_expert = self.separate_stem if stage is None else stage in self.expert_stages
        self.add_module(name, PerExpert(build, self.num_experts) if per_expert else build())
        self.parts.append(name)

    def stage_maps(self, x: Tensor) -> list[list[Tensor]]:
        """Outputs of the stages: for each one map (N, C, H, W) while all is shared, E maps from then on."""
        maps, outputs = [fast_layout(x)], []
        for name in self.parts:
            part = getattr(self, name)
            maps = part(maps) if isinstance(part, PerExpert) else [part(path) for path in maps]
            if name.startswith('layer'):
                outputs.append(maps)
        return outputs

    def pool(self, maps: Sequence[Tensor]) -> tuple[Tensor]:
        """Features (E, N, D), averaged over the pixels of the experts' maps, or of the one map of all."""
        features = torch.stack([path.mean(dim=(2, 3)) for path in maps])
        return (features.expand(self.num_experts, -1, -1),)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features (E, N, D) of images (N, C, H, W), in the tuple mmpretrain's heads expect."""
        return self.pool(self.stage_maps(x)[-1])
