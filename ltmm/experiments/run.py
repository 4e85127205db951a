"""A training of a config with a seed, and the record of its state."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmengine.config import Config

import ltmm
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError
from ltmm.utils.work_dir import latest_checkpoint

__all__ = ['EMPTY_GROUP', 'Run', 'by_config', 'of_stage']

PACKAGE = Path(ltmm.__file__).parent
TOOLS = next(folder for folder in (PACKAGE.parent / 'tools', PACKAGE / '.mim/tools') if (folder / 'train.py').exists())
EMPTY_GROUP = -1  # metric of a group without classes


@dataclass(eq=False)
class Run:
    """One training of a config with a seed."""

    config: Path
    cfg: Config
    seed: int
    work_dir: Path  # the common one of all runs
    options: list[str]
    amp: bool = False
    first_stage: 'Run | None' = None  # the run that trains its first stage
    baseline: 'Run | None' = None  # the run whose time is the unit of the cost
    step: str = 'train'  # or 'test'
    started: float = 0.0
    record: dict = field(default_factory=dict)  # run.json

    def __post_init__(self) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError):  # missing, or half-written by an older version
            self.record = json.loads((self.folder / 'run.json').read_text())

    @property
    def name(self) -> str:
        return self.config.stem

    @property
    def folder(self) -> Path:
        return self.work_dir / self.name / f'seed_{self.seed}'

    def __str__(self) -> str:
        return f'{self.name}, seed {self.seed}'

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings without the seed, which is in the name of the folder."""
        stages = [Config.fromfile(stage.config) for stage in self.cfg.get('stages', []) if 'config' in stage]
        amp = ['--amp'] if self.amp else []
        text = json.dumps([*(cfg.to_dict() for cfg in [*stages, self.cfg]), [*amp, *self.options]], default=str)
        return hashlib.sha1(text.encode()).hexdigest()

    @property
    def is_complete(self) -> bool:
        return self.record.get('state') == 'complete' and self.record['fingerprint'] == self.fingerprint

    @property
    def length(self) -> tuple[int | None, str]:
        """Length of the training and its unit."""
        train = self.cfg.get('train_cfg') or {}
        return (train['max_iters'], 'iter') if train.get('max_iters') else (train.get('max_epochs'), 'epoch')

    @property
    def trained(self) -> list[int]:
        """Epochs or iterations of the last checkpoint of each stage so far."""
        files = sorted(self.folder.glob('stage*/last_checkpoint')) or [self.folder / 'last_checkpoint']
        found = [re.search(r'_(\d+)\.pth', file.read_text()) for file in files if file.exists()]
        return [int(match[1]) for match in found if match]

    @property
    def progress(self) -> str:
        """Epochs or iterations of the stages, ``'200 (ce_r32) + 3'``."""
        given = [f'{self.first_stage.trained[-1]} ({self.first_stage.name})'] if self.takes_first_stage else []
        unit = ' iterations' if self.length[1] == 'iter' else ''
        return ' + '.join([*given, *map(str, self.trained)]) + unit

    @property
    def takes_first_stage(self) -> bool:
        """Whether the first stage is that of another row; run.json keeps it, as that row may be complete only later."""
        is_there = self.first_stage is not None and self.first_stage.is_complete
        return is_there and self.record.get('takes_first_stage', True)

    @property
    def parts(self) -> list['Run']:
        """The runs whose time is that of all stages."""
        return [self, *(self.first_stage.parts if self.takes_first_stage else [])]

    @property
    def cost(self) -> float:
        """Time of all stages in that of the baseline: CPU time, so that other processes don't count, where all have it.

        Runs on a GPU don't have it, nor do those of older versions.
        """
        if not self.baseline.is_complete:
            return EMPTY_GROUP
        has_cpu_time = all('cpu_seconds' in run.record for run in self.parts + self.baseline.parts)
        key = 'cpu_seconds' if has_cpu_time else 'seconds'
        own, unit = (sum(run.record[key] for run in runs) for runs in (self.parts, self.baseline.parts))
        return own / unit

    @property
    def last_checkpoint(self) -> Path:
        checkpoint = latest_checkpoint(self.folder)
        if checkpoint is None:
            raise InputError(f'{self.folder} has no checkpoint. Delete its run.json to train {self} again.')
        return Path(checkpoint)

    @property
    def command(self) -> list[str]:
        """Script and arguments of the current step."""
        settings = self.options if self.step == 'train' else of_stage(self.options, len(self.cfg.get('stages', [])))
        options = ['--work-dir', str(self.folder), '--cfg-options', *settings, f'randomness.seed={self.seed}']
        if self.step == 'test':
            out = ['--out', str(self.folder / 'metrics.json')]
            return [f'{TOOLS}/test.py', str(self.config), str(self.last_checkpoint), *out, *options]
        options = ['--amp', *options] if self.amp else options
        if 'stages' not in self.cfg:
            return [f'{TOOLS}/train.py', str(self.config), '--resume', *options]
        given = ['--first-stage', str(self.first_stage.last_checkpoint)] if self.takes_first_stage else []
        return [f'{TOOLS}/train_stages.py', str(self.config), *given, *options]

    def save(self, state: str, **values: object) -> None:
        """Write run.json, and add the time since it was last written."""
        now = time.time()
        seconds = self.record.get('seconds', 0) + (now - self.started if self.started else 0)
        self.started = now
        self.record |= dict(state=state, fingerprint=self.fingerprint, seconds=seconds, **values)
        AtomicLocalBackend().put_text(json.dumps(self.record, indent=2), self.folder / 'run.json')


def of_stage(options: Sequence[str], number: int) -> list[str]:
    """Return the overrides that apply to the model of a stage; 0 stands for a training without stages."""
    found = [option.removeprefix(f'stage{number}.') for option in options]
    return [option for option in found if not re.match(r'stages?\d*\.', option)]


def by_config(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """``{config: runs}``."""
    return {name: [run for run in runs if run.name == name] for name in dict.fromkeys(run.name for run in runs)}
