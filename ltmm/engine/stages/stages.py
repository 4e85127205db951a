"""Stages that follow each other: each training starts from the last checkpoint of the one before."""

import argparse
import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from ltmm.engine.post_process.post_processor import post_process
from ltmm.utils.launch import build_runner, check_checkpoint, load_config, use_amp

__all__ = ['Stage', 'first_to_run', 'link_result', 'read_stages', 'run_stages']

RECORD = 'stage.json'  # the config a stage was started with
VOLATILE_KEYS = ('launcher', 'load_from', 'resume', 'stages', 'work_dir')
POST_PROCESSED = 'post_processed'
EXEMPLARS = 'exemplars.json'
REFERENCE = 'stage://'  # with the name of a config: what its stage has written


@dataclass
class Stage:
    """One training, post-processing or mining of exemplars, of several.

    Any text in the config may be ``stage://NAME``, which stands for what an earlier stage, of the config NAME.py, has
    written: the last checkpoint of a training, the exemplar file of a mining.

    Args:
        name: what messages call it, also the name of its folder.
        cfg: its config; nothing is trained with a key ``post_process``, with which the stage before is corrected, or
            ``mine_exemplars``, with which its model finds exemplars in the training data.
        folder: its work dir.
    """

    name: str
    cfg: Config
    folder: Path

    @property
    def config_name(self) -> str:
        """Name of its config, which ``stage://`` refers to."""
        return self.name.partition('_')[2]

    @property
    def is_post_processing(self) -> bool:
        """Whether nothing is trained."""
        return self.cfg.get('post_process') is not None

    @property
    def is_mining(self) -> bool:
        """Whether nothing is trained, and no checkpoint written."""
        return self.cfg.get('mine_exemplars') is not None

    @property
    def is_training(self) -> bool:
        """Whether it is none of the above."""
        return not (self.is_post_processing or self.is_mining)

    @property
    def result(self) -> Path:
        """The file the stage ends with."""
        if self.is_post_processing:
            return self.folder / f'{POST_PROCESSED}.pth'
        if self.is_mining:
            return self.folder / EXEMPLARS
        train = self.cfg.train_cfg
        name = f'iter_{train.max_iters}' if train.get('max_iters') else f'epoch_{train.max_epochs}'
        return self.folder / f'{name}.pth'

    @property
    def is_complete(self) -> bool:
        """Whether that file is there."""
        return self.result.is_file()

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
        ValueError: a config without ``stages``, overrides for a stage that does not exist, a post-processing that is
            not the last stage, a mining that is the first, or ``stage://NAME`` where no earlier stage has that name.
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
    if stages[0].is_mining:
        raise ValueError(f'{stages[0].name}: exemplars cannot be mined in the first stage, without a trained model.')
    for number, stage in enumerate(stages):
        earlier = [stage.config_name for stage in stages[:number]]
        for name in _references(stage.cfg._cfg_dict):
            if name not in earlier:
                raise ValueError(
                    f'{stage.name}: expected {REFERENCE}{name} to name a stage before it, but those are '
                    f'{", ".join(earlier) or "none"}.'
                )
    if args.amp:
        for stage in stages:
            if stage.is_training:
                use_amp(stage.cfg)
    return stages


def first_to_run(stages: Sequence[Stage], first_checkpoint: Path | None = None) -> int:
    """Index of the stage to go on with: the one that was interrupted, or the one after the last that is complete.

    Args:
        stages: see :func:`read_stages`.
        first_checkpoint: takes the place of the first stage.

    Raises:
        FileNotFoundError: a checkpoint that is needed is gone.
        InputError: the checkpoint of the first stage is truncated.
        ValueError: that stage, or one before it, was begun with another config.
    """
    if first_checkpoint is not None and not first_checkpoint.is_file():
        raise FileNotFoundError(f'Expected the checkpoint of the first stage, but {first_checkpoint} does not exist.')
    if first_checkpoint is not None:
        check_checkpoint(first_checkpoint)
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
    checkpoint, results = None, {}
    for number, stage in enumerate(stages):
        result = first_checkpoint if number == 0 and first_checkpoint else stage.result
        if number < start:
            _say(f'{stage.name}: there is {result}')
        elif stage.is_post_processing:
            _say(f'{stage.name}: correction of {checkpoint}')
            _post_process(stage, _with_files(stages[number - 1].cfg, results), checkpoint)
        elif stage.is_mining:
            _say(f'{stage.name}: exemplars by {checkpoint}')
            _mine_exemplars(stage, _with_files(stage.cfg, results), checkpoint)
        else:
            _train(stage, _with_files(stage.cfg, results), checkpoint)
        results[stage.config_name] = result
        checkpoint = checkpoint if stage.is_mining else result
        barrier()
    return checkpoint


def _train(stage: Stage, cfg: Config, previous: Path | None) -> None:
    """Train one stage, from its start or from where it was interrupted."""
    latest = stage.latest_checkpoint()
    if latest is not None:
        _say(f'{stage.name}: goes on from {latest}')
        cfg.resume, cfg.load_from = True, str(latest)
    else:
        _say(f'{stage.name}: starts' + (f' from {previous}' if previous else ''))
        cfg.resume = False
        if previous is not None:
            cfg.load_from = str(previous)
    runner = build_runner(cfg)
    stage.write_record()
    runner.train()


def _mine_exemplars(stage: Stage, cfg: Config, checkpoint: Path) -> None:
    from .exemplar_mining import mine_exemplars  # needs mmdet

    stage.write_record()
    mine_exemplars(cfg, checkpoint, stage.result, **cfg.mine_exemplars)


def _post_process(stage: Stage, cfg: Config, checkpoint: Path) -> None:
    arguments: dict[str, Any] = stage.cfg.post_process.to_dict()
    cfg.work_dir = str(stage.folder)
    stage.write_record()
    files = post_process(cfg, str(checkpoint), folder=stage.folder, name=POST_PROCESSED, **arguments)
    if stage.result not in files:
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


def _references(value: Any) -> Iterator[str]:
    """The names of all stages that a config refers to."""
    if isinstance(value, str) and value.startswith(REFERENCE):
        yield value.removeprefix(REFERENCE)
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _references(item)


def _with_files(cfg: Config, results: Mapping[str, Path]) -> Config:
    """A config of its own with files in place of the stages it refers to, see :func:`_resolved`."""
    return Config(_resolved(cfg._cfg_dict, results), filename=cfg.filename)


def _resolved(value: Any, results: Mapping[str, Path]) -> Any:
    """``value`` with files in place of references to stages.

    Raises:
        FileNotFoundError: such a file is gone.
    """
    if isinstance(value, Mapping):
        return type(value)({key: _resolved(item, results) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_resolved(item, results) for item in value)
    if not isinstance(value, str) or not value.startswith(REFERENCE):
        return value
    path = results[value.removeprefix(REFERENCE)]
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is gone, which a later stage needs. Put it back, or choose another --work-dir to run all stages '
            'anew.'
        )
    return str(path)


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
