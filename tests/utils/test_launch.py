import re

import pytest
import torch
from toy import run_tool, toy_config

from ltmm.utils.errors import InputError, exit_readably
from ltmm.utils.launch import check_checkpoint, common_parser, latest_checkpoint, load_config


def test_train_resume_and_test_from_the_command_line(tmp_path):
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    train = run_tool('tools/train.py', tmp_path / 'cfg.py', '--amp', '--cfg-options', 'train_cfg.max_epochs=1')
    assert train.returncode == 0, train.stderr[-2000:]
    assert 'ltmm.CPUAmpOptimWrapper' in (tmp_path / 'run' / 'cfg.py').read_text()
    args = ('tools/test.py', tmp_path / 'cfg.py', tmp_path / 'run/epoch_1.pth', '--out', tmp_path / 'metrics.json')
    test = run_tool(*args)
    assert test.returncode == 0, test.stderr[-2000:]
    assert 'accuracy/top1' in (tmp_path / 'metrics.json').read_text()


def last_line_of_failure(*args) -> str:
    run = run_tool(*args)
    assert run.returncode != 0
    assert 'Traceback' not in run.stderr
    return run.stderr.strip().splitlines()[-1]


def test_an_unwritable_work_dir_is_one_line(tmp_path):
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    (tmp_path / 'file').write_text('')
    line = last_line_of_failure('tools/train.py', tmp_path / 'cfg.py', '--work-dir', tmp_path / 'file' / 'inside')
    assert 'Cannot write to the work directory' in line
    assert '--work-dir' in line


def test_a_missing_config_and_a_missing_checkpoint_are_one_line(tmp_path):
    assert 'nowhere.py' in last_line_of_failure('tools/train.py', 'nowhere.py')
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    assert 'absent.pth' in last_line_of_failure('tools/test.py', tmp_path / 'cfg.py', 'absent.pth')


def test_wrong_counts_stop_before_the_work_dir_holds_a_checkpoint(tmp_path):
    cfg = toy_config(tmp_path / 'run', **{'model.head.loss.class_counts': [5, 4, 3, 2]})
    cfg.dump(tmp_path / 'cfg.py')
    line = last_line_of_failure('tools/train.py', tmp_path / 'cfg.py')
    assert 'LongTailClsHead) has num_classes=3, but its BalancedSoftmaxLoss was built for 4 classes' in line
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_out_must_be_json_or_pkl(tmp_path):
    run = run_tool('tools/test.py', 'cfg.py', 'x.pth', '--out', 'metrics.txt')
    assert run.returncode == 2
    assert '.json file (metrics) or a .pkl file' in run.stderr


@pytest.mark.parametrize(
    'overrides, message',
    [
        (
            {
                'train_dataloader.dataset.counts': (9, 0, 5),
                'train_dataloader.sampler': dict(type='ltmm.ClassAwareSampler', _delete_=True),
            },
            'class 1',
        ),
        (
            {'train_dataloader.sampler': dict(type='ltmm.RepeatFactorSampler', threshold=2, _delete_=True)},
            'share of the',
        ),
        ({'model.head.loss': dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[1, -1, 1])}, 'got -1 for class 1'),
    ],
)
def test_bad_input_is_one_line(tmp_path, overrides, message):
    toy_config(tmp_path / 'run', **overrides).dump(tmp_path / 'cfg.py')
    assert message in last_line_of_failure('tools/train.py', tmp_path / 'cfg.py')


def test_an_empty_pointer_leads_to_the_latest_whole_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best_epoch_11.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'last_checkpoint').touch()
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')


def test_what_an_external_base_brings_is_built_as_in_a_file_of_its_own(tmp_path):
    """MMEngine marks it with a scope, which its dataloader would hand to the collate function."""
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    (tmp_path / 'new.py').write_text(f"_base_ = r'{tmp_path}/cfg.py'\ntrain_dataloader = dict(_scope_='ltmm')\n")
    cfg = load_config(common_parser('').parse_args([str(tmp_path / 'new.py')]))
    assert '_scope_' not in cfg.train_dataloader
    assert cfg.train_dataloader.batch_size == 8


@pytest.mark.parametrize(
    'overrides, message',
    [
        (['model.head.loss.type=ltmm.BalancedSoftMaxLoss'], 'Did you mean .*ltmm.BalancedSoftmaxLoss'),
        (['model.head.los.type=CrossEntropyLoss'], r"LongTailClsHead has no argument 'los'. Did you mean loss\?"),
        (['model.head.num_classes=4'], 'expected the training data to have 4 entries, but got 3'),
    ],
)
def test_what_a_config_says_wrong_is_one_line(tmp_path, overrides, message):
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    line = last_line_of_failure('tools/train.py', tmp_path / 'cfg.py', '--cfg-options', *overrides)
    assert re.search(message, line)


def test_a_config_that_is_none(tmp_path):
    parse = common_parser('').parse_args
    (tmp_path / 'empty.py').touch()
    with pytest.raises(InputError, match='empty.py has no `model`'):
        load_config(parse([str(tmp_path / 'empty.py'), '--work-dir', str(tmp_path)]))
    with pytest.raises(FileNotFoundError, match=r'There is no config .*emty.py. Did you mean .*empty.py\?'):
        load_config(parse([str(tmp_path / 'emty.py')]))
    folder = tmp_path / 'benchmark_lt'
    folder.mkdir()
    (folder / 'ce.py').touch()
    with pytest.raises(FileNotFoundError, match=r'Did you mean .*benchmark_lt/ce.py\?'):
        load_config(parse([str(tmp_path / 'bechmark_lt' / 'ce.py')]))


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1000))), path)
    check_checkpoint(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r'epoch_1.pth is truncated, or no checkpoint .*\(2,000 bytes\)'):
        check_checkpoint(path)
    path.write_bytes(b'')
    with pytest.raises(InputError, match='truncated'):
        check_checkpoint(path)
    torch.save(dict(weight=torch.zeros(3)), path, _use_new_zipfile_serialization=False)
    check_checkpoint(path)
    check_checkpoint('https://somewhere/else.pth')


def test_ctrl_c_says_how_to_go_on(capsys):
    with (
        pytest.raises(SystemExit, match='Interrupted. The same command goes on.'),
        exit_readably(if_interrupted='The same command goes on.'),
    ):
        raise KeyboardInterrupt


def test_a_crash_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_readably(ValueError):
        raise ZeroDivisionError
