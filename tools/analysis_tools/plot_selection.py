"""Draw precision and recall of the samples that trainings on noisy labels took for clean, for head and tail.

python tools/analysis_tools/plot_selection.py WORK_DIR --out selection.png
python tools/analysis_tools/plot_selection.py TABASCO DIVIDEMIX --names TABASCO DivideMix

Also prints the figures of the last epoch. They are in the log of trainings with ltmm.CoDivideHook, at every epoch, and
with ltmm.CleanSelectionHook, once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ltmm.utils.cli import one_line_errors
from ltmm.utils.errors import InputError
from ltmm.visualization import plot_selection, read_selection


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', nargs='+', type=Path, help='work dirs of trainings')
    parser.add_argument('--names', nargs='+', help='a name for each; default: those of the folders')
    parser.add_argument('--out', type=Path, default=Path('selection.png'), help='image file (.png, .pdf, .svg)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    names = args.names or [folder.name for folder in args.work_dirs]
    if len({*names}) != len(args.work_dirs):
        raise InputError(f'Expected --names to be {len(args.work_dirs)} different names, but got {" ".join(names)}.')
    runs = {name: read_selection(folder) for name, folder in zip(names, args.work_dirs)}
    for name, figures in runs.items():
        last = {figure: 100 * values[max(values)] for figure, values in figures.items()}
        print(f'{name}: {", ".join(f"{figure} {value:.1f}" for figure, value in last.items())}')
    print(f'Wrote {plot_selection(runs, args.out)}')


if __name__ == '__main__':
    with one_line_errors():
        main()
