import errno
import os
import shutil
from pickle import UnpicklingError
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.engine.hooks import SafeCheckpointHook

HUB = dict(log_scalars={}, runtime_info={}, resumed_keys={})


def with_scores(runner, scores) -> Runner:
    """Replace the accuracy after each epoch."""
    metric, scores = runner.val_loop.evaluator.metrics[0], iter(scores)
    evaluate = metric.compute_metrics
    metric.compute_metrics = lambda results: evaluate(results) | {'top1': next(scores)}
    return runner


def test_checkpoint_loads_with_weights_only(tmp_path):
    Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 2})).train()
    checkpoint = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    history = checkpoint['message_hub']['log_scalars']['train/loss']['history']
    assert history.shape == (16,)


def test_best_by_a_figure_that_is_left_out(tmp_path):
    metric = dict(type='ltmm.LongTailMetric', class_counts=[200, 50, 30], topk=1)  # no few-shot class
    best = {'default_hooks.checkpoint.save_best': 'long_tail/few', 'default_hooks.checkpoint.rule': 'greater'}
    with pytest.raises(ValueError, match="'long_tail/few' is none.*without tested classes"):
        Runner.from_cfg(toy_config(tmp_path, val_evaluator=metric, **best, **{'train_cfg.max_epochs': 1})).train()


def test_log_history_survives_a_resume(tmp_path):
    Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 2})).train()
    runner = Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 3}, resume=True, experiment_name='more'))
    runner.train()
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 24


@pytest.mark.parametrize('max_keep_ckpts', [1, 2])
def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, max_keep_ckpts):
    fsync = os.fsync
    written = []

    def full_after_two(descriptor):
        written.append(descriptor)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', full_after_two)
    cfg = toy_config(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': max_keep_ckpts})
    with pytest.raises(OSError, match=r'epoch_3.pth: No space left.*epoch_2.pth'):
        Runner.from_cfg(cfg).train()
    files = sorted(path.name for path in tmp_path.iterdir() if 'epoch' in path.name)
    assert files == ['epoch_1.pth', 'epoch_2.pth'][2 - max_keep_ckpts :]
    assert torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['meta']['epoch'] == 2
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_2.pth')

    monkeypatch.undo()
    Runner.from_cfg(toy_config(tmp_path, resume=True, experiment_name='resumed')).train()
    assert torch.load(tmp_path / 'epoch_4.pth', weights_only=True)['meta']['epoch'] == 4


def test_old_checkpoints_are_removed_after_the_new_one(tmp_path):
    Runner.from_cfg(toy_config(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1})).train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_4.pth']


def test_full_disk_keeps_the_best_checkpoint(tmp_path, monkeypatch):
    fsync, best = os.fsync, []

    def full_at_the_second_best(descriptor):
        if '.best_' in os.readlink(f'/proc/self/fd/{descriptor}'):
            best.append(descriptor)
            if len(best) > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', full_at_the_second_best)
    cfg = toy_config(tmp_path, **{'default_hooks.checkpoint.save_best': 'accuracy/top1'})
    runner = with_scores(Runner.from_cfg(cfg), [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(OSError, match='No space left.*best_accuracy_top1_epoch_1.pth'):
        runner.train()
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_accuracy_top1_epoch_1.pth']


def test_old_best_checkpoint_is_removed_after_the_new_one(tmp_path):
    cfg = toy_config(tmp_path, **{'default_hooks.checkpoint.save_best': 'accuracy/top1'})
    with_scores(Runner.from_cfg(cfg), [1.0, 3.0, 2.0, 4.0]).train()
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_accuracy_top1_epoch_4.pth']


def test_copied_run_keeps_the_best_checkpoint_of_the_original(tmp_path):
    options = {'default_hooks.checkpoint.save_best': 'accuracy/top1', 'train_cfg.max_epochs': 1}
    cfg = toy_config(tmp_path / 'run', **options)
    with_scores(Runner.from_cfg(cfg), [1.0]).train()
    copy = shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    options |= {'train_cfg.max_epochs': 2, 'load_from': str(copy / 'epoch_1.pth')}
    cfg = toy_config(copy, **options, resume=True, experiment_name='copy')
    with_scores(Runner.from_cfg(cfg), [2.0]).train()
    assert [path.name for path in (tmp_path / 'run').glob('best_*')] == ['best_accuracy_top1_epoch_1.pth']
    assert [path.name for path in copy.glob('best_*')] == ['best_accuracy_top1_epoch_2.pth']


@pytest.mark.parametrize(
    'content, message',
    [
        (dict(meta={}), 'it has only weights. .*load_from'),
        (dict(meta=dict(epoch='1', iter=1), message_hub=HUB), 'it has only weights'),
        (dict(meta=dict(epoch=1, iter=1), message_hub=HUB | dict(log_scalars=dict(loss={}))), 'log of loss'),
    ],
)
def test_resume_from_what_is_no_training(content, message):
    with pytest.raises(ValueError, match=message):
        SafeCheckpointHook().after_load_checkpoint(SimpleNamespace(_resume=True), content)


def test_resume_from_a_checkpoint_of_mmengines_hook(tmp_path):
    """It holds numpy numbers and HistoryBuffers, as those of older versions do."""
    first = {'default_hooks.checkpoint.type': 'CheckpointHook', 'train_cfg.max_epochs': 1}
    Runner.from_cfg(toy_config(tmp_path, **first)).train()
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    runner = Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 2}, resume=True, experiment_name='more'))
    runner.train()
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 16
    assert torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 16
