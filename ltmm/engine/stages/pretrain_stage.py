"""Stage that pre-trains the backbone of the next stage."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.config import Config

from ltmm.registry import STAGES

from .train_stage import TrainStage

__all__ = ['PretrainStage']


@STAGES.register_module()
@dataclass(kw_only=True)
class PretrainStage(TrainStage):
    """Train a model of which the next stage takes over some parts, with their batch-norm statistics, and no head.

    The next stage is any training; its config need not know of the pre-training.

    Args:
        parts: What the next stage loads, see :class:`~ltmm.engine.LoadPartsHook`.
    """

    parts: Sequence[str] = ('backbone',)

    def prepare_next(self, cfg: Config) -> None:
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='ltmm.LoadPartsHook', prefixes=list(self.parts))]
