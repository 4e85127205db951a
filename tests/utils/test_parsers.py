import runpy
import sys

import pytest
from toy import ROOT, toy_config
from toy_processes import run_tool

from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.parsers import common_parser, parse_training_args


@pytest.fixture
def error_line(monkeypatch):
    """A function that runs a tool and returns the line it ends with."""

    def run(tool, *args):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        with pytest.raises(SystemExit) as caught, one_line_errors():
            runpy.run_path(str(ROOT / 'tools' / tool))['main']()
        return str(caught.value.code)

    return run


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'cfg.py'
    toy_config(tmp_path / 'run').dump(path)
    return path


def test_train_and_test_from_the_command_line(config, tmp_path):
    train = run_tool('tools/train.py', config, '--amp', '--cfg-options', 'train_cfg.max_epochs=1')
    assert train.returncode == 0, train.stderr[-2000:]
    assert 'ltmm.CPUAmpOptimWrapper' in (tmp_path / 'run' / 'cfg.py').read_text()
    test = run_tool('tools/test.py', config, tmp_path / 'run/epoch_1.pth', '--out', tmp_path / 'metrics.json')
    assert test.returncode == 0, test.stderr[-2000:]
    assert 'accuracy/top1' in (tmp_path / 'metrics.json').read_text()
    assert 'ltmm.CPUAmpOptimWrapper' in (tmp_path / 'run' / 'cfg.py').read_text()  # still that of the training


def test_missing_config_is_one_line():
    run = run_tool('tools/train.py', 'nowhere.py')
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == 'FileNotFoundError: There is no config nowhere.py.'
    assert 'Traceback' not in run.stderr


@pytest.mark.parametrize(
    'options, words',
    [
        (['--work-dir', '{cfg}/inside'], ['Cannot write to the work directory', '--work-dir']),
        (['--cfg-options', 'load_from=absent.pth'], ['absent.pth']),
        (['--cfg-options', 'randomnes.seed=1'], ["no 'randomnes'. Did you mean randomness?"]),
        (['--cfg-options', 'model.head.loss.type=ltmm.BalancedSoftMaxLoss'], ['Did you mean', 'BalancedSoftmaxLoss']),
        (['--cfg-options', 'model.head.los.type=A'], ["LongTailClsHead has no argument 'los'. Did you mean loss?"]),
        (
            ['--cfg-options', 'model.head.num_classes=4'],
            ['3 classes (class 0,', 'model.head.num_classes is 4'],
        ),
        (['--cfg-options', 'model.head.loss.class_counts=[1,-1,1]'], ['got -1 for class 1']),
    ],
)
def test_invalid_input_is_one_line(config, tmp_path, error_line, options, words):
    line = error_line('train.py', config, *(option.format(cfg=config) for option in options))
    assert all(word in line for word in words)
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_out_must_be_json_or_npz(error_line, capsys):
    assert error_line('test.py', 'cfg.py', 'x.pth', '--out', 'metrics.txt') == '2'
    assert '.json file (metrics) or a .npz file' in capsys.readouterr().err


@pytest.mark.parametrize('tool', ['train.py', 'train_stages.py'])
@pytest.mark.parametrize(
    'args, message',
    [
        (
            ['--seed', '3', '--cfg-options', 'randomness.seed=4'],
            '--seed and --cfg-options randomness.seed=4 set the same: give one of them',
        ),
        (['--cfg-options', 'trackers=[mlflow]', '--tracker', 'wandb'], '--tracker and --cfg-options trackers='),
        (['--seed', '-1'], 'expected a number from 0 to 2**32 - 1, but got -1'),
        (['--seed', 'one'], 'expected a number from 0 to 2**32 - 1, but got one'),
        (['--tracker', 'clearml'], "invalid choice: 'clearml'"),
    ],
)
def test_bad_seed_or_tracker(error_line, capsys, tool, args, message):
    assert error_line(tool, 'cfg.py', *args) == '2'
    assert message in capsys.readouterr().err


def test_seed_of_the_command_line(config, monkeypatch):
    monkeypatch.setattr(
        sys, 'argv', ['train.py', str(config), '--cfg-options', 'train_cfg.max_epochs=1', '--seed', '7']
    )
    cfg = load_config(parse_training_args(common_parser('')))
    assert (cfg.randomness.seed, cfg.train_cfg.max_epochs, cfg.randomness.deterministic) == (7, 1, False)
