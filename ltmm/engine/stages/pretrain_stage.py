"""Stage that pre-trains the backbone of the next stage."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.config import Config

from ltmm.registry import STAGES
from ltmm.utils.errors import InputError

from .train_stage import TrainStage

__all__ = ['PretrainStage']


@STAGES.register_module()
@dataclass(kw_only=True)
class PretrainStage(TrainStage):
    """Train a model whose backbone, with its batch-norm statistics, the next stage starts from.

    The next stage is any training; its config need not know of the pre-training.

    Args:
        parts: Modules of the model that the next stage loads, see :class:`~ltmm.engine.LoadPartsHook`.
    """

    parts: Sequence[str] = ('backbone',)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [name for name in self.cfg.model if name != 'type']
        if isinstance(self.parts, str) or not self.parts or {part.split('.')[0] for part in self.parts} - {*known}:
            raise InputError(f'{self.folder.name}: expected `parts` to be a list of {known}, but got {self.parts!r}.')

    def prepare_next(self, cfg: Config) -> None:
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='ltmm.LoadPartsHook', prefixes=list(self.parts))]
