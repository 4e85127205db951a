"""Base class of the stages of a multi-stage method."""

import difflib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from mmengine.config import Config
from mmengine.dist import is_main_process

from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError

__all__ = ['Stage']

RECORD = 'stage.json'  # the settings a stage was started with
VOLATILE_KEYS = ('launcher', 'load_from', 'resume', 'trackers', 'work_dir')


@dataclass(kw_only=True)
class Stage:
    """One stage of a multi-stage method: an item of ``stages`` in a config.

    A subclass is a dataclass, registered in ``STAGES``, whose fields are its settings in the config::

        @STAGES.register_module()
        @dataclass(kw_only=True)
        class PseudoLabelStage(Stage):
            threshold: float = 0.9

            @property
            def result(self):
                return self.folder / 'labels.npy'

            def run(self, previous):
                ...  # write self.result with the checkpoint `previous` and self.cfg

            def next_checkpoint(self, previous):
                return previous  # the result is no checkpoint

    ``stages = [..., dict(type='ltmm.PseudoLabelStage', threshold=0.8), ...]`` uses it; ``custom_imports`` of the config
    imports a module outside of ltmm. Every stage also takes ``config``, its config file, and ``name``. Any string in
    settings or config may be ``stage://NAME``, the result of an earlier stage, here ``stage://pseudo_label``.

    Args:
        cfg: Config of the stage.
        folder: Work directory of the stage.
        name: What ``stage://`` refers to. Default: the name of the class, or of the config for
            ``default_config = 'own'``.
    """

    cfg: Config
    folder: Path
    name: str
    default_config: ClassVar[Literal['previous', 'own']] = 'previous'
    """Config of a stage without ``config``: that of the stage before, or the config which lists the stages."""

    @property
    def result(self) -> Path:
        """File or folder that exists once the stage is complete."""
        raise NotImplementedError(f'{type(self).__name__} must define `result`.')

    def run(self, previous: Path | None) -> None:
        """Run the stage and write :attr:`result`.

        Args:
            previous: Last checkpoint of the stages before; None if there is none.
        """
        raise NotImplementedError(f'{type(self).__name__} must define `run`.')

    def next_checkpoint(self, previous: Path | None) -> Path | None:
        """Checkpoint for the stages after this one: ``result``, or ``previous`` if the result is no checkpoint."""
        return self.result

    def prepare_next(self, cfg: Config) -> None:
        """Change the config of the next stage; not at all by default."""

    @property
    def is_complete(self) -> bool:
        return self.result.exists()

    @property
    def latest_checkpoint(self) -> Path | None:
        """Checkpoint from which an interrupted stage resumes."""
        return None

    def log(self, message: str) -> None:
        """Print a line on the main process."""
        if is_main_process():
            print(f'{self.folder.name}: {message}', flush=True)

    def settings(self) -> dict[str, Any]:
        """Fields of the subclass."""
        own = {field.name for field in fields(Stage)}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in own}

    def write_record(self) -> None:
        """Write settings and config, which a resumed run is compared with."""
        if is_main_process():
            AtomicLocalBackend().put_text(self._record(), self.folder / RECORD)

    def check_same_config(self) -> None:
        """Refuse to resume what was started with another config."""
        record = self.folder / RECORD
        text = record.read_text(encoding='utf-8', errors='replace') if record.is_file() else self._record()
        if text == self._record():
            return
        if not _is_json(text):
            self.log(f'{record} is incomplete, so its config is not compared with this one')
            return
        lines = difflib.unified_diff(text.splitlines(), self._record().splitlines(), n=0, lineterm='')
        changes = '\n'.join(line for line in list(lines)[2:] if not line.startswith('@@'))
        raise InputError(
            f'{self.folder.name} was started in {self.folder} with another config (-) than this one (+):\n'
            f'{changes[:500]}\nDelete the folder, or choose another --work-dir.'
        )

    def _record(self) -> str:
        cfg = {key: value for key, value in self.cfg.to_dict().items() if key not in VOLATILE_KEYS}
        record = dict(type=type(self).__name__, settings=self.settings(), cfg=cfg)
        return json.dumps(record, indent=1, sort_keys=True, default=str)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
