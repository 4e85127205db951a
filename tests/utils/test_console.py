import os
import subprocess
import sys

import pytest
from mmengine.runner import Runner
from toy import ROOT, toy_config

from ltmm.utils.console import import_all, quiet_runner


@pytest.mark.parametrize('is_verbose', [False, True])
def test_console_and_log_file(tmp_path, monkeypatch, capfd, is_verbose):
    monkeypatch.setenv('LTMM_VERBOSE', '1' if is_verbose else '')
    import_all()  # mmdet prints
    capfd.readouterr()
    quiet_runner(Runner).from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 1})).train()
    shown = capfd.readouterr().out
    (log,) = tmp_path.glob('*/*.log')
    for text in ('System environment:', 'Config:\n', 'Hooks will be executed', 'Exp name: '):
        assert text in log.read_text()
        assert (text in shown) == is_verbose
    assert 'Epoch(val)' in shown and 'Training data: 3 classes' in shown
    if not is_verbose:
        assert str(log) in shown.splitlines()[0] and len(shown.splitlines()) < 20


def test_runner_of_another_class_stays_one():
    class Own(Runner):
        pass

    quiet = quiet_runner(Own)
    assert issubclass(quiet, Own) and (quiet.__name__, quiet.__module__) == ('Own', __name__)


@pytest.mark.slow
def test_first_lines_of_a_tool(tmp_path):
    """What OpenMMLab's packages print when they are imported does not hide the error."""
    toy_config(tmp_path / 'run', **{'model.head.los': 1}).dump(tmp_path / 'cfg.py')
    command = [sys.executable, ROOT / 'tools/train.py', tmp_path / 'cfg.py']
    path = f'{ROOT}:{ROOT / "tests"}'
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': path}, cwd=tmp_path)
    lines = (run.stdout + run.stderr).splitlines()
    assert lines[-1] == "InputError: LongTailClsHead has no argument 'los'. Did you mean loss?"
    assert len(lines) <= 2, lines


@pytest.mark.slow
def test_silent_imports():
    """The converters import mmpretrain where they need it, the server of the runs everything; both print nothing."""
    code = """
import sys
import ltmm.datasets.convert
assert 'mmpretrain' not in sys.modules
import ltmm.experiments.preload
assert 'mmdet' in sys.modules and 'ltmm.models.losses' in sys.modules
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, ''), run.stderr
