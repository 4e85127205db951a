import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from ltmm.utils import work_dir as module
from ltmm.utils.work_dir import latest_checkpoint, lock_work_dir


@pytest.fixture
def run(tmp_path):
    """Folder of a run with checkpoints of epochs 2 and 10, the newest in ``last_checkpoint``."""
    folder = tmp_path / 'run'
    folder.mkdir()
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best_epoch_11.pth'):
        torch.save(dict(weight=torch.zeros(100)), folder / name)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_10.pth'))
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    'pointer, expected',
    [
        ('{run}/epoch_2.pth', 'epoch_2.pth'),
        ('', 'epoch_10.pth'),
        ('{run}/epo', 'epoch_10.pth'),
        ('\0\0\0', 'epoch_10.pth'),
        ('{run}/epoch_30.pth', 'epoch_10.pth'),
    ],
)
def test_latest_checkpoint(run, pointer, expected):
    (run / 'last_checkpoint').write_text(pointer.format(run=run))
    assert latest_checkpoint(run) == str(run / expected)


def test_no_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None


def test_copied_run_resumes_from_its_own_checkpoint(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / 'copy')
    assert latest_checkpoint(copy) == str(copy / 'epoch_10.pth')
    outside = tmp_path / 'checkpoints' / 'epoch_12.pth'  # out_dir of CheckpointHook
    outside.parent.mkdir()
    shutil.copy(run / 'epoch_2.pth', outside)
    (run / 'last_checkpoint').write_text(str(outside))
    assert latest_checkpoint(run) == str(run / 'epoch_10.pth')
    for path in run.glob('epoch_*.pth'):
        path.unlink()
    assert latest_checkpoint(run) == str(outside)


def test_damaged_checkpoint_falls_back_to_the_one_before(run, capsys):
    cut(run / 'epoch_10.pth')
    assert latest_checkpoint(run) == str(run / 'epoch_2.pth')
    (line,) = capsys.readouterr().out.splitlines()
    assert 'epoch_10.pth is truncated' in line and line.endswith(f'Resuming from {run}/epoch_2.pth.')
    cut(run / 'epoch_2.pth')
    with pytest.raises(ValueError, match='epoch_10.pth is truncated .* delete .* to train again'):
        latest_checkpoint(run)


TRAINING = """
import sys, time
from ltmm.utils.work_dir import lock_work_dir
lock_work_dir(sys.argv[1])
print('locked', flush=True)
time.sleep(60)
"""


def test_lock_ends_with_the_process(tmp_path, monkeypatch):
    half = [tmp_path / '.epoch_3.pth.x1.part', tmp_path / 'stage1' / '.stage.json.x2.part']
    half[1].parent.mkdir()
    for path in half:
        path.touch()
    process = subprocess.Popen([sys.executable, '-c', TRAINING, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'locked\n'
        assert not any(path.exists() for path in half)
        monkeypatch.setattr(module, 'SECONDS', 0.1)
        with pytest.raises(ValueError, match=f'Another run is training in {tmp_path}.*--work-dir'):
            lock_work_dir(tmp_path)
        monkeypatch.setenv('RANK', '1')
        lock_work_dir(tmp_path)  # the first rank has it
        monkeypatch.delenv('RANK')
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    lock_work_dir(tmp_path)
    lock_work_dir(tmp_path)  # in the same process again
