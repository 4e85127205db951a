"""Stages that follow each other: order, what is skipped, exact resume, and what is said when a checkpoint is gone."""

import re
import shutil

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from toy import StopHook, Stopped, run_tool, toy_config

from ltmm.engine.stages import first_to_run, link_result, read_stages, run_stages, stages
from ltmm.registry import MODELS
from ltmm.utils.launch import build_runner, common_parser

FREEZE = dict(type='ltmm.FreezeHook', prefixes=['backbone'])
LOAD = dict(type='ltmm.LoadPartsHook', prefixes=['backbone'])
NO_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


@pytest.fixture
def configs(tmp_path):
    """Config files: two epochs of cross entropy; a new classifier on it; tau-normalisation and class means of it."""
    cfg = toy_config('', **{'model.head.loss': dict(type='CrossEntropyLoss'), 'train_cfg.max_epochs': 2})
    cfg.default_hooks.checkpoint.max_keep_ckpts = 4
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=4, dataset={**cfg.train_dataloader.dataset, 'counts': (24, 24, 24)}
    )
    cfg.pop('work_dir'), cfg.pop('experiment_name')
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    cfg.dump(tmp_path / 'ce.py')

    def child(name, **settings):
        other = Config(cfg.to_dict())
        other.merge_from_dict(settings)
        other.stages = [str(tmp_path / 'ce.py')]
        if 'post_process' in settings:
            for key in NO_TRAINING:
                other[key] = None
        other.dump(tmp_path / f'{name}.py')
        return tmp_path / f'{name}.py'

    sampler = dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1)
    search = dict(step=dict(type='ltmm.TauNorm'), search=dict(val_images=12))
    means = dict(step=dict(type='ltmm.NearestClassMean'))
    hooks = [*cfg.custom_hooks, LOAD, FREEZE]
    return dict(
        ce=tmp_path / 'ce.py',
        crt=child('crt', custom_hooks=hooks, train_dataloader=dict(sampler=sampler)),
        tau=child('tau', post_process=search),
        ncm=child('ncm', post_process=means, model=dict(head=dict(classifier=dict(type='ltmm.NearestMean')))),
    )


def run(config, work_dir, *options, first=None):
    """What tools/train_stages.py does, in a process of its own: runs of one second share a name."""
    Visualizer._instance_dict.clear()
    args = ['--work-dir', str(work_dir)] + (['--cfg-options', *options] if options else [])
    all_stages = read_stages(common_parser('').parse_args([str(config), *args]))
    return run_stages(all_stages, first_to_run(all_stages, first), first)


def run_and_stop(config, work_dir, stage, at_iter):
    """The same, ended by an exception after an iteration of a stage."""

    def build(cfg):
        runner = build_runner(cfg)
        if f'stage{stage}_' in cfg.work_dir:
            runner.register_hook(StopHook(at_iter))
        return runner

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(stages, 'build_runner', build)
        run(config, work_dir)


def state(path) -> dict:
    return torch.load(path, weights_only=True)['state_dict']


def test_the_classifier_is_trained_anew_on_the_features_of_the_first_stage(configs, tmp_path, capsys):
    last = run(configs['crt'], tmp_path / 'work')
    assert last == tmp_path / 'work/stage2_crt/epoch_2.pth'
    first = state(tmp_path / 'work/stage1_ce/epoch_2.pth')
    second, begun = state(last), state(tmp_path / 'work/stage2_crt/epoch_1.pth')
    for name, value in first.items():
        if name.startswith('backbone.') and name.endswith(('weight', 'bias')):
            assert torch.equal(second[name], value)
    assert not torch.equal(second['head.fc.weight'], begun['head.fc.weight'])
    lines = capsys.readouterr().out
    assert 'stage1_ce: starts\n' in lines
    assert re.search(r'stage2_crt: starts from .*stage1_ce/epoch_2.pth', lines)


def test_what_is_complete_is_not_run_again(configs, tmp_path, capsys):
    last = run(configs['crt'], tmp_path / 'work')
    written = last.stat().st_mtime_ns
    capsys.readouterr()
    assert run(configs['crt'], tmp_path / 'work') == last
    assert last.stat().st_mtime_ns == written
    assert 'starts' not in capsys.readouterr().out


@pytest.mark.parametrize('stage', [1, 2])
def test_a_run_that_was_stopped_in_any_stage_ends_as_one_that_was_not(configs, tmp_path, stage):
    straight = run(configs['crt'], tmp_path / 'straight')
    run_and_stop(configs['crt'], tmp_path / 'stopped', stage, at_iter=7)  # in the second epoch
    resumed = run(configs['crt'], tmp_path / 'stopped')
    torch.testing.assert_close(state(resumed), state(straight), rtol=0, atol=0)


@pytest.mark.slow
def test_a_second_stage_stopped_before_its_first_checkpoint_starts_from_the_first(configs, tmp_path):
    straight = run(configs['crt'], tmp_path / 'straight')
    run_and_stop(configs['crt'], tmp_path / 'stopped', stage=2, at_iter=2)
    assert not list((tmp_path / 'stopped/stage2_crt').glob('*.pth'))
    torch.testing.assert_close(state(run(configs['crt'], tmp_path / 'stopped')), state(straight), rtol=0, atol=0)


@pytest.mark.slow
def test_the_first_stage_can_be_given(configs, tmp_path, capsys):
    first = run(configs['crt'], tmp_path / 'one').parents[1] / 'stage1_ce/epoch_2.pth'
    last = run(configs['crt'], tmp_path / 'two', first=first)
    assert not list((tmp_path / 'two/stage1_ce').glob('*.pth'))
    torch.testing.assert_close(state(last), state(tmp_path / 'one/stage2_crt/epoch_2.pth'), rtol=0, atol=0)


def test_a_first_stage_of_another_width_is_refused(configs, tmp_path):
    cfg = Config.fromfile(configs['ce'])
    cfg.merge_from_dict({'model.backbone.channels': (4, 4, 12), 'model.head.in_channels': 12})
    wider = MODELS.build(cfg.model)
    torch.save(dict(state_dict=wider.state_dict()), tmp_path / 'wider.pth')
    message = r'backbone.layer3\S+, \(8, .* frozen at its random start: the checkpoint has it as \(12, .* network'
    with pytest.raises(ValueError, match=message):
        run(configs['crt'], tmp_path / 'work', first=tmp_path / 'wider.pth')


@pytest.mark.parametrize('name', ['tau', 'ncm'])
def test_a_post_processing_is_a_stage(configs, tmp_path, name):
    last = run(configs[name], tmp_path / 'work')
    assert last == tmp_path / f'work/stage2_{name}/post_processed.pth'
    link_result(last, tmp_path / 'work')
    cfg = Config.fromfile(configs[name])
    cfg.update(work_dir=str(tmp_path / 'test'), load_from=str(tmp_path / 'work/post_processed.pth'))
    figures = Runner.from_cfg(cfg).test()  # the config of the last stage is that of its checkpoint
    assert figures['long_tail/balanced_accuracy'] > 40
    written = last.stat().st_mtime_ns
    run(configs[name], tmp_path / 'work')
    assert last.stat().st_mtime_ns == written


def test_overrides_are_for_all_stages_or_for_one(configs, tmp_path):
    last = run(configs['crt'], tmp_path / 'work', 'optim_wrapper.optimizer.lr=0.05', 'stage2.train_cfg.max_epochs=1')
    assert last.name == 'epoch_1.pth'
    for folder, epochs in (('stage1_ce', 2), ('stage2_crt', 1)):
        cfg = Config.fromfile(next((tmp_path / 'work' / folder).glob('*.py')))
        assert (cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_epochs) == (0.05, epochs)


def test_a_checkpoint_that_is_gone_is_one_clear_error(configs, tmp_path):
    run_and_stop(configs['crt'], tmp_path / 'work', stage=2, at_iter=2)
    for path in (tmp_path / 'work/stage1_ce').glob('*.pth'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'stage1_ce: its checkpoint .*epoch_2.pth is gone.*--first-stage'):
        run(configs['crt'], tmp_path / 'work')
    with pytest.raises(FileNotFoundError, match='checkpoint of the first stage, but .*nowhere.pth does not exist'):
        run(configs['crt'], tmp_path / 'work', first=tmp_path / 'nowhere.pth')


def test_another_config_does_not_go_on_with_what_was_begun(configs, tmp_path):
    run_and_stop(configs['crt'], tmp_path / 'work', stage=1, at_iter=7)
    message = r'stage1_ce was begun in .* another config \(-\)(?s:.*)"lr": 0.1(?s:.*)"lr": 0.3'
    with pytest.raises(ValueError, match=message):
        run(configs['crt'], tmp_path / 'work', 'optim_wrapper.optimizer.lr=0.3')


@pytest.mark.slow
def test_a_work_dir_may_be_moved(configs, tmp_path):
    run_and_stop(configs['crt'], tmp_path / 'old', stage=1, at_iter=7)
    shutil.move(tmp_path / 'old', tmp_path / 'new')
    straight = run(configs['crt'], tmp_path / 'straight')
    torch.testing.assert_close(state(run(configs['crt'], tmp_path / 'new')), state(straight), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('config', 'option', 'error'),
    [
        ('ce', (), 'to have stages = .* Train it with tools/train.py'),
        ('crt', ('stage3.train_cfg.max_epochs=1',), "override of stage1 to stage2, but got 'stage3.train_cfg"),
    ],
)
def test_wrong_calls_are_refused(configs, tmp_path, config, option, error):
    with pytest.raises(ValueError, match=error):
        run(configs[config], tmp_path / 'work', *option)


def test_post_processing_comes_last(configs, tmp_path):
    cfg = Config.fromfile(configs['crt'])
    cfg.stages = [str(configs['tau'])]
    cfg.dump(tmp_path / 'wrong.py')
    with pytest.raises(ValueError, match='stage1_tau: post-processing has to be the last stage'):
        run(tmp_path / 'wrong.py', tmp_path / 'work')


@pytest.mark.slow
def test_from_the_command_line_to_the_test(configs, tmp_path):
    work = tmp_path / 'work'
    args = ('tools/train_stages.py', configs['crt'], '--work-dir', work, '--amp', '--resume')
    train = run_tool(*args, '--cfg-options', 'train_cfg.max_epochs=1')
    assert train.returncode == 0, train.stderr[-2000:]
    assert (work / 'last_checkpoint').read_text() == str(work / 'epoch_1.pth')
    assert 'ltmm.CPUAmpOptimWrapper' in (work / 'stage2_crt/crt.py').read_text()
    test = run_tool('tools/test.py', configs['crt'], work / 'epoch_1.pth', '--work-dir', tmp_path / 'test')
    assert test.returncode == 0, test.stderr[-2000:]
    missing = run_tool(*args[:4], '--first-stage', 'nowhere.pth')
    assert missing.returncode and 'Traceback' not in missing.stderr
    assert 'nowhere.pth does not exist' in missing.stderr.splitlines()[-1]
