import argparse
import fcntl
import json
import os
import time

import pytest
from mmengine.config import Config

from ltmm.experiments import LocalLauncher, RayLauncher, Run, SlurmLauncher, run_all
from ltmm.experiments.cli import add_launcher_arguments, check_launcher_arguments, launcher_of
from ltmm.experiments.jobs import BUSY, run_remotely
from ltmm.utils.environment import EnvironmentProblem

SCRIPT = """\
import os, pathlib, sys, time
print('hello from', os.getcwd())
what = sys.argv[1]
if what == 'wait':
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(60)
if what == 'train':
    pathlib.Path(sys.argv[2], 'last_checkpoint').write_text('epoch_2.pth')
if what == 'test':
    pathlib.Path(sys.argv[2], 'metrics.json').write_text('{"long_tail/top1": 50.0}')
if what == 'fail':
    sys.exit('ValueError: no such loss')
"""


def slurm(folder):
    pytest.importorskip('submitit')
    return SlurmLauncher(folder / 'slurm', gpus=0, minutes=5, cluster='local')


def ray_cluster(folder):
    pytest.importorskip('ray')
    return RayLauncher(gpus=0)


@pytest.fixture(scope='module', params=[slurm, pytest.param(ray_cluster, marks=pytest.mark.slow)])
def launcher(request, tmp_path_factory):
    yield request.param(tmp_path_factory.mktemp('cluster'))
    if request.param is ray_cluster:
        import ray

        ray.shutdown()


@pytest.fixture
def script(tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    return str(tmp_path / 'script.py')


def wait(job):
    while job.is_alive():
        time.sleep(0.05)
    return job.exitcode


def test_exit_status_and_output(launcher, script, tmp_path):
    assert wait(launcher.start([script, 'nothing'], tmp_path)) == 0
    log = (tmp_path / 'output.log').read_text()
    assert log == f'$ python {script} nothing\nhello from {os.getcwd()}\n'
    assert (tmp_path / 'hardware.txt').read_text()
    assert float((tmp_path / 'cpu_seconds.txt').read_text()) > 0
    assert wait(launcher.start([script, 'fail'], tmp_path)) == 1
    assert (tmp_path / 'output.log').read_text().endswith('ValueError: no such loss\n')


def test_cpu_time_of_each_run(tmp_path, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    (tmp_path / 'burn.py').write_text('import time\nwhile time.process_time() < 0.3: pass\n')
    for _ in range(3):  # in one process, as Ray's workers do
        assert run_remotely([str(tmp_path / 'burn.py')], str(tmp_path), str(tmp_path)) == 0
    times = list(map(float, (tmp_path / 'cpu_seconds.txt').read_text().split()))
    assert len(times) == 3 and all(0.29 <= seconds < 0.59 for seconds in times)


def test_locked_run(launcher, script, tmp_path):
    with open(tmp_path / 'run.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert wait(launcher.start([script, 'nothing'], tmp_path)) == BUSY


def test_cancelled_script_ends(launcher, script, tmp_path):
    job = launcher.start([script, 'wait', str(tmp_path / 'started')], tmp_path)
    while not (tmp_path / 'started').exists():
        time.sleep(0.05)
    job.terminate()
    job.join()
    for _ in range(600):  # a minute, on a busy machine
        with open(tmp_path / 'run.lock') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.1)
    pytest.fail('the script still runs')


def test_runs_of_a_table(launcher, script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Run, 'command', property(lambda run: [script, run.step, str(run.folder)]))
    cfg = Config(dict(train_cfg=dict(max_epochs=2), test_evaluator=dict(type='ltmm.LongTailMetric')))
    runs = [Run(tmp_path / 'ce.py', cfg, seed, tmp_path / 'work', []) for seed in (0, 1)]
    assert run_all(runs, lambda: launcher, jobs=2) == {}
    for run in runs:
        record = json.loads((run.folder / 'run.json').read_text())
        assert record['state'] == 'complete' and record['metrics'] == {'long_tail/top1': 50.0}
        assert record['epochs'] == '2' and record['hardware'] == (run.folder / 'hardware.txt').read_text()
        assert len((run.folder / 'cpu_seconds.txt').read_text().split()) == 2
        assert record['cpu_seconds'] > 0
    assert run_all(runs, lambda: pytest.fail('all are complete'), jobs=2) == {}


def test_slurm_needs_a_login_node(tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    monkeypatch.setenv('PATH', '')
    with pytest.raises(EnvironmentProblem, match='needs sbatch, which this machine lacks'):
        SlurmLauncher(tmp_path, gpus=0, minutes=5)


def test_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setattr('ltmm.utils.environment.find_spec', lambda name: None)
    for make in (lambda: SlurmLauncher(tmp_path, gpus=0, minutes=5), lambda: RayLauncher(gpus=0)):
        with pytest.raises(EnvironmentProblem, match=r'pip install "ltmm\[launch\]"'):
            make()


def arguments(*args):
    parser = argparse.ArgumentParser()
    add_launcher_arguments(parser)
    args = parser.parse_args(args)
    check_launcher_arguments(parser, args)
    return args


def test_runs_at_a_time():
    make, jobs = launcher_of(arguments(), 6)
    assert make is LocalLauncher and jobs == 1
    assert launcher_of(arguments('--launcher', 'ray', '--gpus', '1'), 6)[1] == 6
    assert launcher_of(arguments('--launcher', 'ray', '--gpus', '1', '--jobs', '2'), 6)[1] == 2


@pytest.mark.parametrize(
    'args, message',
    [
        (['--launcher', 'slurm'], '--launcher slurm needs --gpus: 1, or 0'),
        (['--launcher', 'slurm', '--gpus', '1'], '--launcher slurm needs --minutes'),
        (['--gpus', '1'], '--gpus has no effect with --launcher local'),
        (['--launcher', 'ray', '--gpus', '0', '--minutes', '5'], '--minutes has no effect with --launcher ray'),
        (
            ['--launcher', 'slurm', '--gpus', '1', '--minutes', '9', '--slurm-options', 'qos'],
            '--slurm-options takes KEY=VALUE',
        ),
        (['--jobs', '0'], '--jobs: expected at least 1, but got 0'),
        (['--launcher', 'slurm', '--gpus', '2'], 'invalid choice: 2'),
    ],
)
def test_options_that_contradict(capsys, args, message):
    with pytest.raises(SystemExit):
        arguments(*args)
    assert message in capsys.readouterr().err
