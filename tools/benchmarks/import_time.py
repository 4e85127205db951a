"""What ``import ltmm`` adds to ``import mmpretrain``, in seconds and as a ratio.

Each import runs in a fresh interpreter, the two in turn; medians are reported.
"""

import argparse
import statistics
import subprocess
import sys

BASE = 'import time; start = time.perf_counter(); import mmpretrain{}; print(time.perf_counter() - start)'


def seconds(statement: str) -> float:
    """Time of the imports in a fresh interpreter."""
    return float(subprocess.check_output([sys.executable, '-c', statement], text=True).splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=7, help='fresh interpreters for each of the two')
    runs = parser.parse_args().runs
    pairs = [(seconds(BASE.format('')), seconds(BASE.format(', ltmm'))) for _ in range(runs + 1)][
        1:
    ]  # first: cold disk
    alone, both = (statistics.median(values) for values in zip(*pairs))
    added = statistics.median(b - a for a, b in pairs)
    print(f'import mmpretrain: {alone:.2f} s; with ltmm: {both:.2f} s; added {added:.3f} s, ratio {both / alone:.3f}')


if __name__ == '__main__':
    main()
