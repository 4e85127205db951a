"""Trainings of COMIC through the Runner: they resume exactly, run in half precision and on two processes."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy_multi_label import toy_comic_config
from toy_training import stop_and_resume, train_on_two_ranks


def state(folder) -> dict:
    return torch.load(folder / 'epoch_4.pth', weights_only=True)


@pytest.mark.parametrize('shared_backbone', [False, True])
def test_resume_equals_never_stopped(tmp_path, shared_backbone):
    shared = {'model.shared_backbone': shared_backbone}
    Runner.from_cfg(toy_comic_config(tmp_path / 'straight', **shared)).train()

    stop_and_resume(partial(toy_comic_config, tmp_path / 'stopped', **shared), at_iter=18)
    straight, resumed = (state(tmp_path / name) for name in ('straight', 'stopped'))
    assert straight['state_dict']['head.corrector.head.recalled'].sum() > 0
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)


def test_trains_in_half_precision_with_exact_state(tmp_path):
    runner = Runner.from_cfg(toy_comic_config(tmp_path, **{'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper'}))
    runner.train()  # ltmm.InvalidLossHook stops at the first loss that is not finite
    found = state(tmp_path)['state_dict']
    assert found['head.fc.tail.embedding.total'].dtype == torch.float32
    assert found['head.corrector.tail.recalled'].dtype == torch.int64


def test_a_checkpoint_is_tested_without_the_training_data(tmp_path):
    Runner.from_cfg(toy_comic_config(tmp_path)).train()
    cfg = toy_comic_config(tmp_path / 'test', load_from=str(tmp_path / 'epoch_4.pth'))
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    assert Runner.from_cfg(cfg).test()['multi_label/mAP'] > 0


@pytest.mark.slow
def test_two_processes_hold_the_same_state(tmp_path):
    """Every rank writes what it holds, all but the statistics of batch norm equal; no parameter goes unused."""
    cfg = toy_comic_config(tmp_path / 'two', find_unused_parameters=False)
    cfg.custom_hooks.append(dict(type='ltmm.DumpStateHook'))
    train_on_two_ranks(cfg)
    first, second = (torch.load(tmp_path / 'two' / f'rank_{rank}.pth', weights_only=True) for rank in range(2))
    assert first['head.fc.head.embedding.total'].any() and first['head.corrector.head.recalled'].any()
    names = [name for name in first if 'running_' not in name]
    torch.testing.assert_close([first[name] for name in names], [second[name] for name in names], rtol=0, atol=0)
