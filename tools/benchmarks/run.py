"""Compare the speed of ltmm with that of a reference: ``python tools/benchmarks/run.py losses samplers``.

Without a name, lists the benchmarks. Times are CPU seconds of one thread, which other programs hardly change. The two
sides take turns; the table shows medians, and the exit status is 1 if a bound is not kept.
"""

import argparse
import ast
import importlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from pair import Pair

FOLDER = Path(__file__).parent
ROW = '{:<36}{:>12}{:>14}{:>10}{:>24}  {}'


def measure(
    pair: Pair, rounds: int = 30, max_seconds: float = 15, clock: Callable[[], float] = time.process_time
) -> tuple[float, float, float]:
    """Time both sides of a pair in turns.

    Args:
        pair: The two sides.
        rounds: Rounds to time, after one that warms up.
        max_seconds: Start no new round after this time, but time four at least.
        clock: Returns seconds.

    Returns:
        Medians of our seconds, the reference's seconds and their ratio.
    """

    def seconds(side: Callable[[], object]) -> float:
        start = clock()
        measured = side()
        return measured if isinstance(measured, float) else clock() - start

    times: list[tuple[float, float]] = []
    end = time.monotonic() + max_seconds
    while len(times) < 5 or (len(times) <= rounds and time.monotonic() < end):
        if len(times) % 2:
            ours, reference = seconds(pair.ours), seconds(pair.reference)
        else:
            reference, ours = seconds(pair.reference), seconds(pair.ours)
        times.append((ours, reference))
    columns = zip(*((ours, reference, ours / reference) for ours, reference in times[1:]))
    return tuple(map(statistics.median, columns))


def row(pair: Pair, ours: float, reference: float, ratio: float) -> tuple[str, bool]:
    """Format a row of the table; also return whether the bound is kept."""
    bound, kept = '', True
    if pair.max_seconds is not None:
        bound, kept = f'<= {1e3 * pair.max_seconds:g} ms', ours <= pair.max_seconds
    elif pair.max_ratio is not None:
        bound, kept = f'<= {pair.max_ratio:g}', ratio <= pair.max_ratio
    if pair.megabytes is not None:
        used = pair.megabytes()
        bound += f', {used:.0f} MB <= {pair.max_megabytes:.0f}'
        kept &= used <= pair.max_megabytes
    verdict = ('kept' if kept else 'NOT KEPT') if bound else ''
    times = (f'{1e3 * seconds:.1f} ms' for seconds in (ours, reference))
    return ROW.format(pair.name, *times, f'{ratio:.3g}', bound, verdict), kept


def descriptions() -> dict[str, str]:
    """Return ``{name: first line of the docstring}`` of all benchmarks: the files that define ``compare``."""
    sources = {path.stem: path.read_text() for path in sorted(FOLDER.glob('*.py'))}
    return {
        name: ast.get_docstring(ast.parse(source)).splitlines()[0]
        for name, source in sources.items()
        if '\ndef compare(' in source
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='name', help='benchmarks to run; without any, list them')
    parser.add_argument('--all', action='store_true', help='run all benchmarks')
    parser.add_argument('--rounds', type=int, default=30, help='rounds per pair')
    parser.add_argument('--max-seconds', type=float, default=15, help='per pair, after which no round starts')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch and NumPy')
    parser.add_argument('--wall', action='store_true', help='measure wall-clock time')
    args = parser.parse_args(argv)
    known = descriptions()
    if unknown := [name for name in args.names if name not in known]:
        sys.exit(f'Unknown benchmark {unknown[0]!r}; choose from {", ".join(known)}')
    names = list(known) if args.all else args.names
    if not names:
        print('\n'.join(f'{name:<22}{text}' for name, text in known.items()))
    os.environ['OMP_NUM_THREADS'] = str(args.threads)  # read when PyTorch is imported, by a benchmark
    warnings.filterwarnings('ignore')
    all_kept = True
    for name in names:
        print(f'{name}: {known[name]}\n' + ROW.format('', 'ours', 'reference', 'ratio', 'bound', ''))
        for pair in importlib.import_module(name).compare():
            times = measure(pair, args.rounds, args.max_seconds, time.perf_counter if args.wall else time.process_time)
            text, kept = row(pair, *times)
            print(text, flush=True)
            all_kept &= kept
    return 0 if all_kept else 1


if __name__ == '__main__':
    sys.exit(main())
