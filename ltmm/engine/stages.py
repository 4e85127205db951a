"""Trainings that follow each other: each stage starts from the last checkpoint of the one before."""

import argparse
import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from ltmm.utils.launch import build_runner, load_config, use_amp

from .post_processing import post_process

__all__ = ['Stage', 'first_to_run', 'link_result', 'read_stages', 'run_stages']

RECORD = 'stage.json'  # the config a stage was started with
VOLATILE_KEYS = ('launcher', 'load_from', 'resume', 'stages', 'work_dir')
POST_PROCESSED = 'post_processed'


@dataclass
class Stage:
    """One training, or one post-processing, of several.

    Args:
        name: what messages call it, also the name of its folder.
        cfg: its config; with a key ``post_process`` nothing is trained, and the stage before is corrected.
        folder: its work dir.
    """

    name: str
    cfg: Config
    folder: Path

    @property
    def is_post_processing(self) -> bool:
        """Whether nothing is trained."""
        return self.cfg.get('post_process') is not None

    @property
    def final_checkpoint(self) -> Path:
        """The checkpoint the stage ends with."""
        if self.is_post_processing:
            return self.folder / f'{POST_PROCESSED}.pth'
        train = self.cfg.train_cfg
        name = f'iter_{train.max_iters}' if train.get('max_iters') else f'epoch_{train.max_epochs}'
        return self.folder / f'{name}.pth'

    @property
    def is_complete(self) -> bool:
        """Whether its last checkpoint is there."""
        return self.final_checkpoint.is_file()

    @property
    def has_begun(self) -> bool:
        """Whether it has a checkpoint to go on from."""
        return self.latest_checkpoint() is not None

    def latest_checkpoint(self) -> Path | None:
        """Where an interrupted training goes on; None before its first checkpoint.

        Raises:
            FileNotFoundError: the stage had a checkpoint, which is gone.
        """
        try:
            name = Path((self.folder / 'last_checkpoint').read_text().strip()).name
        except FileNotFoundError:
            return None
        if not (self.folder / name).is_file():
            raise FileNotFoundError(
                f'{self.name}: its checkpoint {self.folder / name} is gone. Put it back, delete {self.folder} to train '
                'this stage anew, or give the last checkpoint of the first stage with --first-stage.'
            )
        return self.folder / name

    def check_same_config(self) -> None:
        """Refuse to go on with what another config has begun.

        Raises:
            ValueError: shows the first lines that differ.
        """
        record = self.folder / RECORD
        if not record.is_file() or record.read_text() == self._record():
            return
        lines = difflib.unified_diff(record.read_text().splitlines(), self._record().splitlines(), n=0, lineterm='')
        changes = '\n'.join(line for line in list(lines)[2:] if not line.startswith('@@'))
        raise ValueError(
            f'{self.name} was begun in {self.folder} with another config (-), not this one (+):\n{changes[:500]}\n'
            'Delete the folder, or choose another --work-dir.'
        )

    def write_record(self) -> None:
        """Remember the config."""
        if is_main_process():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / RECORD).write_text(self._record())

    def _record(self) -> str:
        settings = {key: value for key, value in self.cfg.to_dict().items() if key not in VOLATILE_KEYS}
        return json.dumps(settings, indent=1, sort_keys=True, default=str)


def read_stages(args: argparse.Namespace) -> list[Stage]:
    """The stages of a config: those its ``stages`` names, by paths, and itself.

    Args:
        args: of the command line, see :func:`ltmm.utils.launch.common_parser`. Overrides are for all stages, those that
            begin with ``stage1.``, ``stage2.`` ... for one.

    Raises:
        FileNotFoundError: a config that is not there.
        ValueError: a config without ``stages``, overrides for a stage that does not exist, or a post-processing that is
            not the last stage.
    """
    last = load_config(args)
    if not last.get('stages'):
        raise ValueError(
            f"Expected {args.config} to have stages = ['<config of the stage before>'], but it has none. "
            'Train it with tools/train.py.'
        )
    paths = [*last.stages, args.config]
    shared, own = _split_options(args.cfg_options or {}, len(paths))
    stages = []
    for number, path in enumerate(paths, 1):
        name = f'stage{number}_{Path(path).stem}'
        folder = Path(last.work_dir) / name
        options = {**shared, **own[number - 1]}
        stage_args = dict(config=str(path), work_dir=str(folder), cfg_options=options)
        cfg = load_config(argparse.Namespace(**{**vars(args), **stage_args}))
        stages.append(Stage(name, cfg, folder))
    for stage in stages[:-1]:
        if stage.is_post_processing:
            raise ValueError(f'{stage.name}: post-processing has to be the last stage, a training cannot follow it.')
    if args.amp:
        for stage in stages:
            if not stage.is_post_processing:
                use_amp(stage.cfg)
    return stages


def first_to_run(stages: Sequence[Stage], first_checkpoint: Path | None = None) -> int:
    """Index of the stage to go on with: the one that was interrupted, or the one after the last that is complete.

    Args:
        stages: see :func:`read_stages`.
        first_checkpoint: takes the place of the first stage.

    Raises:
        FileNotFoundError: a checkpoint that is needed is gone.
        ValueError: that stage, or one before it, was begun with another config.
    """
    if first_checkpoint is not None and not first_checkpoint.is_file():
        raise FileNotFoundError(f'Expected the checkpoint of the first stage, but {first_checkpoint} does not exist.')
    for number in reversed(range(len(stages))):
        stage = stages[number]
        if number == 0 and first_checkpoint is not None:
            return 1
        if stage.is_complete or stage.has_begun:
            for begun in stages[: number + 1]:
                begun.check_same_config()
            return number + stage.is_complete
    return 0


def run_stages(stages: Sequence[Stage], start: int, first_checkpoint: Path | None = None) -> Path:
    """Run the stages from ``start`` on, in order, and give the last checkpoint.

    Args:
        stages: see :func:`read_stages`.
        start: see :func:`first_to_run`.
        first_checkpoint: takes the place of the first stage.
    """
    checkpoints = [first_checkpoint or stages[0].final_checkpoint, *(stage.final_checkpoint for stage in stages[1:])]
    for number, stage in enumerate(stages):
        if number < start:
            _say(f'{stage.name}: there is {checkpoints[number]}')
            continue
        previous = checkpoints[number - 1] if number else None
        if stage.is_post_processing:
            _say(f'{stage.name}: correction of {previous}')
            _post_process(stage, stages[number - 1].cfg, previous)
        else:
            _train(stage, previous)
        barrier()
    return checkpoints[-1]


def _train(stage: Stage, previous: Path | None) -> None:
    """Train one stage, from its start or from where it was interrupted."""
    latest = stage.latest_checkpoint()
    if latest is not None:
        _say(f'{stage.name}: goes on from {latest}')
        stage.cfg.resume, stage.cfg.load_from = True, str(latest)
    else:
        _say(f'{stage.name}: starts' + (f' from {previous}' if previous else ''))
        stage.cfg.resume = False
        if previous is not None:
            stage.cfg.load_from = str(previous)
    runner = build_runner(stage.cfg)
    stage.write_record()
    runner.train()


def _post_process(stage: Stage, cfg: Config, checkpoint: Path) -> None:
    arguments: dict[str, Any] = stage.cfg.post_process.to_dict()
    cfg.work_dir = str(stage.folder)
    stage.write_record()
    files = post_process(cfg, str(checkpoint), folder=stage.folder, name=POST_PROCESSED, **arguments)
    if stage.final_checkpoint not in files:
        raise ValueError(
            f'{stage.name}: {arguments["step"]["type"]} cannot be built into the classifier of this model, see '
            f'{files[0]}. Use the hook ltmm.PostProcessHook in place of this stage.'
        )


def link_result(checkpoint: Path, work_dir: Path) -> None:
    """Let ``work_dir`` show the last checkpoint of all stages as that of a single training would be found in it."""
    if not is_main_process():
        return
    link = work_dir / checkpoint.name
    link.unlink(missing_ok=True)
    os.symlink(os.path.relpath(checkpoint, work_dir), link)
    (work_dir / 'last_checkpoint').write_text(str(link))


def _split_options(options: dict, num_stages: int) -> tuple[dict, list[dict]]:
    """Overrides for all stages, and for each."""
    shared, own = {}, [{} for _ in range(num_stages)]
    for key, value in options.items():
        head, _, tail = key.partition('.')
        if not head.startswith('stage') or not head[5:].isdigit():
            shared[key] = value
            continue
        if not 1 <= int(head[5:]) <= num_stages:
            raise ValueError(f'Expected an override of stage1 to stage{num_stages}, but got {key!r}.')
        own[int(head[5:]) - 1][tail] = value
    return shared, own


def _say(text: str) -> None:
    if is_main_process():
        print(text, flush=True)
