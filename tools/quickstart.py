"""Train cross entropy and balanced softmax on long-tailed Fashion-MNIST and compare them on the rare classes.

Takes less than five minutes on two CPU cores, tests and plot included. After an interruption, the same command goes on
from the last checkpoint.
"""

import argparse
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from ltmm.evaluation import comparison_table, read_run
from ltmm.utils.cli import one_line_errors
from ltmm.utils.work_dir import latest_checkpoint
from ltmm.visualization import plot_accuracy_against_frequency

ROOT = Path(__file__).resolve().parents[1]
RUNS = {
    'cross entropy': 'configs/fashion_mnist_lt/ce_r8.py',
    'balanced softmax': 'configs/fashion_mnist_lt/balanced_softmax_r8.py',
}
PROGRESS = re.compile(r'INFO - (Epoch\((?:train|val)\).*)')
# Threads that spin while they wait for each other cost a busy machine most of its time; more than four do not help.
IS_LINUX = sys.platform == 'linux'
NUM_CORES = len(os.sched_getaffinity(0)) if IS_LINUX else os.cpu_count()
THREADS = dict(OMP_WAIT_POLICY='PASSIVE', OMP_NUM_THREADS=str(min(4, NUM_CORES)))
SECONDS_TO_STOP = 20
PR_SET_PDEATHSIG = 1  # from Linux' prctl.h
DIE_WITH_PARENT = partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGTERM) if IS_LINUX else None


def main() -> None:
    """Download the data, train, print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'), help='output folder')
    args = parser.parse_args()
    args.work_dir = args.work_dir.resolve()
    start = time.time()
    print('[1/3] Fashion-MNIST, imbalance factor 100: 6,000 images in the largest class, 60 in the smallest')
    run('tools/dataset_tools/fetch_fashion_mnist.py')
    for step, (name, config) in enumerate(RUNS.items(), 2):
        print(f'[{step}/3] {name}: {config}, about two minutes')
        train(config, args.work_dir / Path(config).stem)
    runs = [read_run(args.work_dir / Path(config).stem, name) for name, config in RUNS.items()]
    plot = args.work_dir / 'accuracy_against_frequency.png'
    plot_accuracy_against_frequency(runs, plot, title='Fashion-MNIST-LT, imbalance factor 100, ResNet-8')
    print(f'\nAccuracy on the balanced test set, in percent (best *):\n\n{comparison_table(runs)}\n')
    print(f'Accuracy per class over its number of training images: {plot}')
    print(f'Took {time.time() - start:.0f} s. Next: python tools/train.py configs/cifar100_lt/ce_r32.py')


def train(config: str, work_dir: Path) -> None:
    """Train a config, or go on from its last checkpoint, and make sure that the last epoch is evaluated."""
    if any(work_dir.glob('*.pth')):
        print(f'      resumes from the last checkpoint; delete {work_dir} to start over')
    run('tools/train.py', config, '--work-dir', work_dir, '--resume')
    checkpoint = Path(latest_checkpoint(work_dir))
    reports = [file.stat().st_mtime_ns for file in work_dir.rglob('per_class.csv')]
    if max(reports, default=0) < checkpoint.stat().st_mtime_ns:  # interrupted in the last validation
        run('tools/test.py', config, checkpoint, '--work-dir', work_dir)


def run(*command: str | Path) -> None:
    """Run a tool of this repository in a subprocess and show its progress; exit if it fails.

    The subprocess ends with this process, however that ends.
    """
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**THREADS, **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C reaches it once, from here
        preexec_fn=DIE_WITH_PARENT,
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if match := PROGRESS.search(line):
                print('     ', match[1], flush=True)
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    if process.returncode:
        sys.exit(f'{"".join(lines[-20:])}\n{" ".join(map(str, command))} failed; its last lines are above.')


if __name__ == '__main__':
    with one_line_errors(if_interrupted='The same command goes on from the last checkpoint.'):
        main()
