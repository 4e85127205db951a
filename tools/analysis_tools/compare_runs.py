"""Compare the accuracy of trained models on frequent and rare classes.

Reads the latest per-class CSV that ltmm.LongTailMetric or ltmm.MultiLabelMetric has written in each work dir. For
detectors, --csv-name per_class_bbox.csv or per_class_segm.csv reads that of ltmm.LVISMetric. A work dir with subfolders
seed_0, seed_1, ... is one method: the table has a row per seed, the plot the mean and the range of the seeds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ltmm.evaluation import Run, comparison_table, per_class_csv, read_seeds
from ltmm.utils.cli import one_line_errors
from ltmm.utils.errors import InputError
from ltmm.visualization import plot_accuracy_against_frequency, plot_groups_against_frequency


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, help='work dirs, or per-class CSVs')
    parser.add_argument('--names', nargs='+', help='names of the runs; default: those of the work dirs')
    parser.add_argument(
        '--csv-name',
        default='per_class.csv',
        help="`csv_name` of the metric; 'per_class*.csv' includes the experts, 'per_class_bbox.csv' is for detectors",
    )
    parser.add_argument('--markdown', action='store_true', help='print a Markdown table')
    parser.add_argument('--out', type=Path, help='image file: accuracy or AP per class against its training images')
    parser.add_argument(
        '--panels', action='store_true', help="draw a panel per run, for its experts; needs --csv-name 'per_class*.csv'"
    )
    parser.add_argument('--csv', type=Path, help='CSV file: accuracy or AP, one row per class, one column per run')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    names = args.names or [None] * len(args.runs)
    if len(names) != len(args.runs):
        raise InputError(f'Expected a name for each of the {len(args.runs)} runs, but got {len(names)}.')
    if args.panels and not (args.out and args.csv_name == 'per_class*.csv'):
        raise InputError("--panels draws the experts of each run: it needs --csv-name 'per_class*.csv' and --out.")
    groups = [read_seeds(path, name, args.csv_name) for path, name in zip(args.runs, names)]
    runs = [run for group in groups for run in group]
    found = [run.name for run in runs]
    if twice := [name for name in found if found.count(name) > 1]:
        raise InputError(f'Expected a name of its own for each run, but got {twice[0]!r} twice: give --names.')
    print(comparison_table(runs, args.markdown))
    if args.panels:
        print(f'Wrote {plot_groups_against_frequency(panels(groups), args.out)}')
    elif args.out:
        print(f'Wrote {plot_accuracy_against_frequency(runs, args.out)}')
    if args.csv:
        args.csv.write_text(per_class_csv(runs), encoding='utf-8')
        print(f'Wrote {args.csv}')


def panels(groups: Sequence[Sequence[Run]]) -> list[tuple[str, list[Run]]]:
    """Name the runs of a work dir by their part: that of the model ``'all'``, the others ``'expert 0'``, ..."""
    found = []
    for runs in groups:
        title, *_ = methods = [run.method or run.name for run in runs]
        parts = [method[len(title) + 2 :] or 'all' for method in methods]
        found.append((title, [replace(run, method=part) for run, part in zip(runs, parts)]))
    return found


if __name__ == '__main__':
    with one_line_errors():
        main()
