import os
import runpy
import signal
import time
from pathlib import Path

import pytest
import torch
from toy import ROOT


@pytest.fixture
def quickstart():
    return runpy.run_path(str(ROOT / 'tools' / 'quickstart.py'))['main'].__globals__


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    status = Path(f'/proc/{pid}/stat')
    return status.exists() and status.read_text().rpartition(')')[2].split()[0] not in 'ZX'


def test_progress_is_shown_and_threads_do_not_spin(quickstart, monkeypatch, capsys):
    for name in quickstart['THREADS']:
        monkeypatch.delenv(name, raising=False)
    quickstart['run'](
        '-c', 'import os; print("noise\\n11/29 - mmengine - INFO - Epoch(train)", os.environ["OMP_WAIT_POLICY"])'
    )
    assert capsys.readouterr().out.split() == ['Epoch(train)', 'PASSIVE']


def test_failure_shows_the_last_lines(quickstart):
    with pytest.raises(SystemExit, match='the reason\n'):
        quickstart['run']('-c', 'raise SystemExit("the reason")')


def test_ctrl_c_ends_the_training_once_and_waits_for_it(quickstart, tmp_path):
    code = f"""
import os, pathlib, signal, time
try:
    time.sleep(0.5)  # until the parent reads
    os.kill(os.getppid(), signal.SIGINT)  # only the parent, as an IDE does
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)
    pathlib.Path({str(tmp_path)!r}, 'stopped').touch()
"""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            quickstart['run']('-c', code)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / 'stopped').exists()


def test_training_does_not_outlive_a_killed_parent(quickstart, tmp_path):
    file = tmp_path / 'pid'
    code = f'import os, pathlib, time; pathlib.Path({str(file)!r}).write_text(f"{{os.getpid()}} "); time.sleep(60)'
    parent = os.fork()
    if not parent:
        try:
            quickstart['run']('-c', code)
        finally:
            os._exit(0)
    wait_for(lambda: file.exists() and file.read_text().endswith(' '))
    child = int(file.read_text())
    assert is_running(child)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_for(lambda: not is_running(child))


@pytest.mark.parametrize('evaluated', [True, False])
def test_second_start_resumes_and_evaluates_what_was_not(quickstart, tmp_path, capsys, evaluated):
    torch.save({}, tmp_path / 'epoch_8.pth')
    (tmp_path / 'vis_data').mkdir()
    (tmp_path / 'vis_data' / 'per_class.csv').touch()
    os.utime(tmp_path / 'epoch_8.pth', ns=(0, time.time_ns() + (-1 if evaluated else 1) * 10**10))
    commands = []
    quickstart['run'] = lambda *command: commands.append([str(part) for part in command])
    quickstart['train']('config.py', tmp_path)
    assert commands[0] == ['tools/train.py', 'config.py', '--work-dir', str(tmp_path), '--resume']
    assert [command[0] for command in commands[1:]] == ([] if evaluated else ['tools/test.py'])
    assert f'delete {tmp_path} to start over' in capsys.readouterr().out
