"""Stage that trains a teacher of a later stage."""

from dataclasses import dataclass
from pathlib import Path

from ltmm.registry import STAGES

from .train_stage import TrainStage

__all__ = ['TeacherStage']


@STAGES.register_module()
@dataclass(kw_only=True)
class TeacherStage(TrainStage):
    """Train from scratch, whatever stages come before.

    A later stage refers to the result by ``stage://NAME``. The next stage does not start from it, but from the
    checkpoint before.
    """

    def run(self, previous: Path | None) -> None:
        super().run(None)

    def next_checkpoint(self, previous: Path | None) -> Path | None:
        return previous
