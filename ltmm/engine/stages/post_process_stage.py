"""Stage that corrects a trained model."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ltmm.engine.post_process import post_process
from ltmm.registry import STAGES
from ltmm.utils.errors import InputError

from .base import Stage

__all__ = ['PostProcessStage']


@STAGES.register_module()
@dataclass(kw_only=True)
class PostProcessStage(Stage):
    """Correct the model of the stage before, without training. The result is a checkpoint.

    Where the config has ``ltmm.CorrectedHead``, the model of the stage before has the head inside.

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
        files = post_process(
            _without_correction(self.cfg), str(previous), self.step, self.folder, self.result.stem, self.search
        )
        if self.result not in files:
            raise InputError(
                f'{self.folder.name}: {self.step["type"]} cannot be built into the classifier of this model, see '
                f'{files[0]}. Use the hook ltmm.PostProcessHook instead of this stage.'
            )


def _without_correction(cfg: Config) -> Config:
    """Config of the model before the correction that a ``ltmm.CorrectedHead`` holds."""
    head = cfg.model.get('head') or {}
    if head.get('type') != 'ltmm.CorrectedHead':
        return cfg
    cfg = Config(copy.deepcopy(cfg._cfg_dict))
    cfg.model.head = head.head
    return cfg
