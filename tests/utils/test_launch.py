from toy import run_tool, toy_config


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
    assert 'training data to have 4 entries, but got 3' in line
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_out_must_be_json_or_pkl(tmp_path):
    run = run_tool('tools/test.py', 'cfg.py', 'x.pth', '--out', 'metrics.txt')
    assert run.returncode == 2
    assert '.json file (metrics) or a .pkl file' in run.stderr
