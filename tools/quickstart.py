"""Train cross entropy and balanced softmax on long-tailed Fashion-MNIST and compare them on the rare classes.

Takes less than five minutes on two CPU cores, tests and plot included.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from ltmm.evaluation import comparison_table, read_run
from ltmm.visualization import plot_accuracy_against_frequency

ROOT = Path(__file__).resolve().parents[1]
RUNS = {
    'cross entropy': 'configs/fashion_mnist_lt/ce_r8.py',
    'balanced softmax': 'configs/fashion_mnist_lt/balanced_softmax_r8.py',
}
PROGRESS = re.compile(r'INFO - (Epoch\((?:train|val)\).*)')


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
        run('tools/train.py', config, '--work-dir', args.work_dir / Path(config).stem)
    runs = [read_run(args.work_dir / Path(config).stem, name) for name, config in RUNS.items()]
    plot = args.work_dir / 'accuracy_against_frequency.png'
    plot_accuracy_against_frequency(runs, plot, title='Fashion-MNIST-LT, imbalance factor 100, ResNet-8')
    print(f'\nAccuracy on the balanced test set, in percent (best *):\n\n{comparison_table(runs)}\n')
    print(f'Accuracy per class over its number of training images: {plot}')
    print(f'Took {time.time() - start:.0f} s. Next: python tools/train.py configs/cifar100_lt/ce_r32.py')


def run(*command: str | Path) -> None:
    """Run a tool of this repository in a subprocess and show its progress; exit if it fails."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if match := PROGRESS.search(line):
            print('     ', match[1], flush=True)
    if process.wait():
        sys.exit(f'{"".join(lines[-20:])}\n{" ".join(map(str, command))} failed; its last lines are above.')


if __name__ == '__main__':
    main()
