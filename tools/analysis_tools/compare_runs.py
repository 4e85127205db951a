"""Compare trained models on frequent and rare classes.

Reads the per-class CSV that ltmm.LongTailMetric or ltmm.MultiLabelMetric writes next to the log of each evaluation, the
latest one in a work dir. For detectors, read that of ltmm.LVISMetric with --csv-name per_class_bbox.csv (or
per_class_segm.csv).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ltmm.visualization import comparison_table, per_class_csv, plot_accuracy_against_frequency, read_runs


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, help='work dirs, or per-class CSVs')
    parser.add_argument('--names', nargs='+', help='names of the runs; default: the names of the work dirs')
    parser.add_argument(
        '--csv-name',
        default='per_class.csv',
        help="`csv_name` of the metric; 'per_class*.csv' includes experts; 'per_class_bbox.csv' for detectors",
    )
    parser.add_argument('--markdown', action='store_true', help='print a Markdown table')
    parser.add_argument(
        '--out', type=Path, help='plot to write: accuracy or AP per class over the number of training images'
    )
    parser.add_argument(
        '--csv', type=Path, help='CSV to write: one row per class, one column of accuracy or AP per run'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and write the requested files."""
    args = parse_args(argv)
    names = args.names or [None] * len(args.runs)
    try:
        if len(names) != len(args.runs):
            raise ValueError(f'Expected a name for each of the {len(args.runs)} runs, but got {len(names)}.')
        runs = [run for path, name in zip(args.runs, names) for run in read_runs(path, name, args.csv_name)]
        print(comparison_table(runs, args.markdown))
        if args.out:
            print(f'Wrote {plot_accuracy_against_frequency(runs, args.out)}')
        if args.csv:
            args.csv.write_text(per_class_csv(runs), encoding='utf-8')
            print(f'Wrote {args.csv}')
    except (OSError, ValueError) as e:
        sys.exit(f'{type(e).__name__}: {e}')


if __name__ == '__main__':
    main()
