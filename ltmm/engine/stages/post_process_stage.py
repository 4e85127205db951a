"""Stage that corrects a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltmm.engine.post_process import post_process
from ltmm.registry import STAGES
from ltmm.utils.errors import InputError

from .base import Stage

__all__ = ['PostProcessStage']


@STAGES.register_module()
@dataclass(kw_only=True)
class PostProcessStage(Stage):
    """Correct the model of the stage before, without training. The result is a checkpoint.

    Args:
        step: Config of the correction, such as ``dict(type='ltmm.TauNorm')``.
        search: Options of :meth:`ltmm.engine.post_process.PostProcessor.fit`. Default: take the correction as ``step``
            sets it, unless it has to be fitted.
    """

    step: dict[str, Any]
    search: dict[str, Any] | None = None

    @property
    def result(self) -> Path:
        return self.folder / 'post_processed.pth'

    def run(self, previous: Path | None) -> None:
        self.log(f'corrects {previous}')
        files = post_process(self.cfg, str(previous), self.step, self.folder, self.result.stem, self.search)
        if self.result not in files:
            remedy = 'the hook ltmm.PostProcessHook' if files[0].suffix == '.py' else 'tools/post_process.py'
            raise InputError(
                f'{self.folder.name}: {self.step["type"]} cannot be built into the classifier of this model, see '
                f'{files[0]}. Use {remedy} instead of this stage.'
            )
