"""Train plain cross entropy and balanced softmax on long-tailed Fashion-MNIST, and show who wins on the tail.

Both trainings, their tests and the picture take less than five minutes on two CPU cores.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from ltmm.visualization import comparison_table, plot_accuracy_against_frequency, read_run

ROOT = Path(__file__).resolve().parents[1]
RUNS = {
    'cross entropy': 'configs/fashion_mnist_lt/ce_r8.py',
    'balanced softmax': 'configs/fashion_mnist_lt/balanced_softmax_r8.py',
}
PROGRESS = re.compile(r'INFO - (Epoch\((?:train|val)\).*)')


def main() -> None:
    """Fetch the data, train, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/quickstart'), help='where everything is written'
    )
    args = parser.parse_args()
    args.work_dir = args.work_dir.resolve()
    start = time.time()
    print('[1/3] Fashion-MNIST, imbalance factor 100: 6,000 images of the first class, 60 of the last')
    run('tools/dataset_tools/fetch_fashion_mnist.py')
    for step, (name, config) in enumerate(RUNS.items(), 2):
        print(f'[{step}/3] {name}: {config}, about two minutes')
        run('tools/train.py', config, '--work-dir', args.work_dir / Path(config).stem)
    runs = [read_run(args.work_dir / Path(config).stem, name) for name, config in RUNS.items()]
    picture = args.work_dir / 'accuracy_against_frequency.png'
    plot_accuracy_against_frequency(runs, picture, title='Fashion-MNIST-LT, imbalance factor 100, ResNet-8')
    print(f'\nAccuracy on the balanced test set, in percent (best *):\n\n{comparison_table(runs)}\n')
    print(f'Accuracy of each class against its training images: {picture}')
    print(f'{time.time() - start:.0f} s in all. Next: python tools/train.py configs/cifar100_lt/ce_r32.py')


def run(*command: str | Path) -> None:
    """A tool of this checkout in a process of its own, with only its progress shown; stops at the first that fails."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if match := PROGRESS.search(line):
            print('     ', match[1], flush=True)
    if process.wait():
        sys.exit(f'{"".join(lines[-20:])}\n{" ".join(map(str, command))} failed; its last lines stand above.')


if __name__ == '__main__':
    main()
