"""Run the stages of a config in this process, to their end or up to an iteration."""

from pathlib import Path

import pytest
from mmengine.visualization import Visualizer
from toy import StopHook, Stopped

from ltmm.engine.stages import first_to_run, read_stages, run_stages
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser


def run(config, work_dir, *options, first=None) -> Path | None:
    """Run as tools/train_stages.py does, with a new visualizer, as runs within one second share a name."""
    Visualizer._instance_dict.clear()
    args = ['--work-dir', str(work_dir)] + (['--cfg-options', *options] if options else [])
    all_stages = read_stages(common_parser('').parse_args([str(config), *args]))
    return run_stages(all_stages, first_to_run(all_stages, first), first)


def run_and_stop(config, work_dir, stage, at_iter) -> None:
    """Run, and stop after an iteration of a stage."""

    def build(cfg):
        runner = build_runner(cfg)
        if f'stage{stage}_' in cfg.work_dir:
            runner.register_hook(StopHook(at_iter))
        return runner

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr('ltmm.engine.stages.train_stage.build_runner', build)
        run(config, work_dir)
