"""Stage that trains a model."""

from dataclasses import dataclass
from pathlib import Path

from ltmm.registry import STAGES
from ltmm.utils.errors import InputError
from ltmm.utils.launch import build_runner
from ltmm.utils.schedules import may_stop_early
from ltmm.utils.trackers import use_trackers
from ltmm.utils.work_dir import latest_checkpoint

from .base import Stage

__all__ = ['TrainStage']


@STAGES.register_module()
@dataclass(kw_only=True)
class TrainStage(Stage):
    """Train from the checkpoint of the stage before. The result is the last checkpoint.

    Without ``config`` it trains the config that lists the stages.
    """

    default_config = 'own'

    def __post_init__(self) -> None:
        if may_stop_early(self.cfg):
            raise InputError(
                f'{self.folder.name}: a stage is complete after its last epoch. Take the EarlyStoppingHook out of its '
                'custom_hooks.'
            )

    @property
    def result(self) -> Path:
        train = self.cfg.train_cfg
        name = f'iter_{train.max_iters}' if train.get('max_iters') else f'epoch_{train.max_epochs}'
        return self.folder / f'{name}.pth'

    @property
    def latest_checkpoint(self) -> Path | None:
        try:
            latest = latest_checkpoint(self.folder)
        except FileNotFoundError as e:
            raise FileNotFoundError(f'{e} Or pass the last checkpoint of the first stage as --first-stage.') from None
        return latest and Path(latest)

    def run(self, previous: Path | None) -> None:
        latest = self.latest_checkpoint
        if latest is not None:
            self.log(f'resumes from {latest}')
        else:
            self.log('starts' + (f' from {previous}' if previous else ''))
        self.cfg.resume = latest is not None
        if latest or previous:
            self.cfg.load_from = str(latest or previous)
        use_trackers(self.cfg)
        build_runner(self.cfg).train()
