"""Trainings that are stopped and resumed in this process, or run on two ranks."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from toy import Stopped
from toy_processes import run_on_two_ranks


def stop_and_resume(config: Callable[..., Config], at_iter: int) -> None:
    """Train up to an iteration, and from the latest checkpoint before it to the end.

    Args:
        config: Makes the config, with overrides.
        at_iter: The iteration, over all epochs.
    """
    stopped = config()
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=at_iter))
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    Runner.from_cfg(config(resume=True, experiment_name='resumed')).train()


def train_on_two_ranks(cfg: Config) -> None:
    """Train on two processes."""
    path = Path(f'{cfg.work_dir}.py')
    cfg.dump(path)
    run = run_on_two_ranks('tools/train.py', path)
    assert run.returncode == 0, run.stderr[-3000:]
