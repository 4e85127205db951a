"""A run that was stopped and resumed equals the run that was not."""

import signal

import pytest
import torch
from mmengine.runner import Runner
from toy import Stopped, toy_config
from toy_processes import run_tool


def final_checkpoint(work_dir) -> dict:
    return torch.load(work_dir / 'epoch_4.pth', weights_only=True)


def assert_same_training_state(one: dict, other: dict) -> None:
    torch.testing.assert_close(one['state_dict'], other['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(one['optimizer']['state'], other['optimizer']['state'], rtol=0, atol=0)
    assert one['optimizer']['param_groups'] == other['optimizer']['param_groups']
    assert one['param_schedulers'] == other['param_schedulers']
    assert one['meta']['epoch'] == other['meta']['epoch']
    assert one['meta']['iter'] == other['meta']['iter']


@pytest.mark.parametrize(
    'num_workers, seed, sampler',
    [
        (0, 0, dict(type='DefaultSampler', shuffle=True)),
        (2, None, dict(type='DefaultSampler', shuffle=True)),
        (0, None, dict(type='ltmm.ClassAwareSampler')),
        (0, 0, dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=4)),
        (0, 0, dict(type='ltmm.RepeatFactorSampler', threshold=0.5, length=64)),
    ],
)
def test_resume_equals_never_stopped(tmp_path, num_workers, seed, sampler):
    options = {
        'train_dataloader.num_workers': num_workers,
        'train_dataloader.sampler': dict(sampler, _delete_=True),
        'randomness.seed': seed,
    }
    runner = Runner.from_cfg(toy_config(tmp_path / 'straight', **options))
    runner.train()

    # the first part under the same seed; the resumed part under what its own config says (None draws another)
    stopped = toy_config(tmp_path / 'stopped', **{**options, 'randomness.seed': runner.seed})
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=17))  # the first of the third epoch
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    Runner.from_cfg(toy_config(tmp_path / 'stopped', **options, resume=True, experiment_name='resumed')).train()
    assert_same_training_state(final_checkpoint(tmp_path / 'stopped'), final_checkpoint(tmp_path / 'straight'))


def test_a_run_killed_in_mid_epoch_resumes_to_the_same_end(tmp_path):
    Runner.from_cfg(toy_config(tmp_path / 'straight')).train()

    killed = toy_config(tmp_path / 'killed')
    killed.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=20, kill=True))  # 8 iterations an epoch
    killed.dump(tmp_path / 'killed.py')
    run = run_tool('tools/train.py', tmp_path / 'killed.py')
    assert run.returncode == -signal.SIGKILL, run.stderr[-2000:]
    assert sorted(path.name for path in (tmp_path / 'killed').glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']

    toy_config(tmp_path / 'killed').dump(tmp_path / 'resumed.py')
    run = run_tool('tools/train.py', tmp_path / 'resumed.py', '--resume')
    assert run.returncode == 0, run.stderr[-2000:]
    assert_same_training_state(final_checkpoint(tmp_path / 'killed'), final_checkpoint(tmp_path / 'straight'))


def test_two_epochs_draw_different_augmentations(tmp_path):
    """Workers that live one epoch would draw the same ones every time under MMEngine's own seeding."""
    drawn = []
    runner = Runner.from_cfg(toy_config(tmp_path, **{'train_dataloader.num_workers': 1, 'train_cfg.max_epochs': 2}))
    runner.train_loop.dataloader.dataset.pipeline.transforms.insert(0, _RecordDraw())
    original = runner.train_loop.run_iter

    def record(idx, batch):
        drawn.append([sample.draw for sample in batch['data_samples']])
        original(idx, batch)

    runner.train_loop.run_iter = record
    packer = runner.train_loop.dataloader.dataset.pipeline.transforms[-1]
    packer.meta_keys = (*packer.meta_keys, 'draw')
    runner.train()
    assert len(drawn) == 16
    assert drawn[:8] != drawn[8:]
    assert len({value for batch in drawn for value in batch}) > 100  # no two epochs share their draws


class _RecordDraw:
    def __call__(self, results):
        results['draw'] = float(torch.rand(()))
        return results
