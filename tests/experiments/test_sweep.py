import json
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from toy import ROOT, toy_config
from toy_processes import run_program

from ltmm.experiments.recipes import parsed
from ltmm.experiments.sweep import Sweep, last_figure, read_search, with_validation_data
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

SEARCH = {'optim_wrapper.optimizer.lr': dict(low=0.01, high=1.0, log=True), 'model.head.loss.tau': [0.5, 1]}


def test_read_search():
    texts = ['a.lr=0.01:1.0:log', 'a.depth=2:5', 'a.tau=0.5:2', 'a.loss=x,y', 'a.flag=True,False']
    assert read_search(texts) == {
        'a.lr': dict(low=0.01, high=1.0, log=True),
        'a.depth': dict(low=2, high=5, log=False),
        'a.tau': dict(low=0.5, high=2, log=False),
        'a.loss': ['x', 'y'],
        'a.flag': [True, False],
    }


@pytest.mark.parametrize(
    'text', ['a', 'a=', '=1:2', 'a=1', 'a=2:1', 'a=1:1', 'a=0:1:log', 'a=1:2:lin', 'a=x:y', 'a=1:2:3', 'a=1:']
)
def test_bad_search(text):
    with pytest.raises(InputError, match='Expected KEY=LOW:HIGH'):
        read_search([text])


@pytest.mark.parametrize('text', ['a=[1,2],[3,4]', 'a=[1:2', 'a=(1,2)'])
def test_lists_cannot_be_searched(text):
    with pytest.raises(InputError, match='Expected numbers, words or flags'):
        read_search([text])


def test_key_that_is_searched_twice():
    with pytest.raises(InputError, match='a is searched twice'):
        read_search(['a=1:2', 'a=3,4'])


def test_validation_data_are_held_out_of_the_training_set(tmp_path):
    cfg = toy_config(tmp_path)
    found = with_validation_data(cfg, holdout=0.25)
    init_default_scope('mmpretrain')
    train, val = (DATASETS.build(found[f'{part}_dataloader'].dataset) for part in ('train', 'val'))
    assert (len(train), len(val)) == (30 + 12 + 6, 10 + 4 + 2)
    assert found.test_dataloader is None and found.test_evaluator is None
    assert found.val_dataloader.dataset.dataset.pipeline == cfg.val_dataloader.dataset.pipeline  # not augmented
    assert cfg.val_dataloader.dataset.type == 'ltmm.ToyImages'  # the argument is not changed


def test_validation_data_that_are_not_the_test_data_stay(tmp_path):
    cfg = toy_config(tmp_path, **{'val_dataloader.dataset.counts': (5, 5, 5)})
    assert with_validation_data(cfg).val_dataloader == cfg.val_dataloader


@pytest.mark.parametrize(
    'overrides, message',
    [
        (dict(stages=[dict(type='ltmm.TrainStage')]), 'expected a config without `stages`'),
        (dict(val_dataloader=None), 'expected a val_dataloader'),
        (dict(default_scope='mmdet'), 'split the training annotations into two files'),
    ],
)
def test_config_that_cannot_be_searched(tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        with_validation_data(toy_config(tmp_path, **overrides))


class FakeLauncher:
    """Writes the log of a training at once: the figure is best at lr = 0.1 and tau = 1."""

    def __init__(self, interrupt_at=None, exitcode=0, metric='val/score'):
        self.interrupt_at, self.exitcode, self.metric = interrupt_at, exitcode, metric
        self.commands = []

    def start(self, command, folder):
        self.commands.append(command)
        if len(self.commands) == self.interrupt_at:
            raise KeyboardInterrupt
        options = parsed(command[command.index('--cfg-options') + 1 :])
        score = -abs(options['optim_wrapper.optimizer.lr'] - 0.1) + options['model.head.loss.tau']
        log = folder / '2026/vis_data/scalars.json'
        log.parent.mkdir(parents=True, exist_ok=True)
        lines = [{self.metric: -9.0}, {'loss': 1.0}, {self.metric: score}]
        log.write_text('\n'.join(map(json.dumps, lines)))
        (folder / 'output.log').write_text('$ python\nValueError: no such loss\n')
        return SimpleNamespace(exitcode=self.exitcode, is_alive=lambda: False)


@pytest.fixture
def make():
    pytest.importorskip('optuna')
    return lambda folder, **settings: Sweep(
        **{**dict(config=Config(dict(a=1)), search=SEARCH, metric='val/score', work_dir=folder), **settings}
    )


def test_sweep_goes_on_after_an_interruption(make, tmp_path):
    launcher = FakeLauncher(interrupt_at=4)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path).run(8, lambda: launcher)
    again = FakeLauncher()
    sweep = make(tmp_path)
    sweep.run(8, lambda: again, jobs=3)
    assert again.commands[0] == launcher.commands[3]  # the interrupted trial first, in its folder
    assert len(launcher.commands) - 1 + len(again.commands) == 8
    values = [trial.value for trial in sweep.study.trials if trial.value is not None]
    assert len(values) == 8 and sweep.study.best_value == max(values)
    best = parsed(sweep.best)
    assert best['model.head.loss.tau'] == 1
    assert sweep.study.best_value == pytest.approx(1 - abs(best['optim_wrapper.optimizer.lr'] - 0.1))
    make(tmp_path).run(8, lambda: pytest.fail('there is nothing to do'))


def test_sweep_without_trials(make, tmp_path):
    with pytest.raises(InputError, match='trials'):
        make(tmp_path).run(0, FakeLauncher)


@pytest.mark.parametrize(
    'changed', [dict(metric='val/other'), dict(search={'a': [1, 2]}), dict(config=Config(dict(a=2))), dict(seed=1)]
)
def test_another_sweep_in_the_folder(make, tmp_path, changed):
    make(tmp_path)
    with pytest.raises(InputError, match=f'has a sweep of another {next(iter(changed))}: choose another --work-dir'):
        make(tmp_path, **changed)


@pytest.mark.parametrize(
    'launcher, message',
    [
        (FakeLauncher(exitcode=1), 'ValueError: no such loss'),
        (FakeLauncher(metric='val/top1'), 'its validation has no finite val/score, only val/top1'),
    ],
)
def test_failures_end_a_sweep(make, tmp_path, launcher, message):
    with pytest.raises(InputError, match=f'3 trials in a row failed, the last so: {message}'):
        make(tmp_path).run(8, lambda: launcher)
    assert len(launcher.commands) == 3


def test_last_figure_of_a_resumed_training(tmp_path):
    for name, value in (('2026_1', 1.0), ('2026_2', 2.0)):
        (tmp_path / name / 'vis_data').mkdir(parents=True)
        (tmp_path / name / 'vis_data/scalars.json').write_text(json.dumps({'val/a': value}) + '\n{"loss": 3}\n')
    assert last_figure(tmp_path, 'val/a') == (2.0, ['val/a'])
    assert last_figure(tmp_path, 'val/b') == (None, ['val/a'])


@pytest.mark.slow
def test_sweep_of_trainings(make, tmp_path):
    metric = dict(type='ltmm.LongTailMetric', topk=(1,), thresholds=(30, 10))
    cfg = toy_config(tmp_path / 'x', val_evaluator=metric, test_evaluator=metric, **{'train_cfg.max_epochs': 1})
    cfg.dump(tmp_path / 'toy.py')
    args = ['--search', 'optim_wrapper.optimizer.lr=0.01:0.5:log', '--trials', '2', '--work-dir', tmp_path / 'sweep']
    result = run_program(ROOT / 'tools/analysis_tools/sweep.py', tmp_path / 'toy.py', *args)
    assert result.returncode == 0, result.stderr[-2000:]
    best = result.stdout.splitlines()[-1]
    assert best.startswith(f'python tools/train.py {tmp_path}/toy.py --cfg-options optim_wrapper.optimizer.lr=0.')
    logs = [file.read_text() for file in (tmp_path / 'sweep').glob('trials/*/*/*.log')]
    assert len(logs) == 2 and all('3 classes, 51 images' in log for log in logs)  # of 64, 20 % held out
