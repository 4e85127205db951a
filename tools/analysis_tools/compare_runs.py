"""Compare trained models by what they can do on frequent and rare classes.

Reads the per-class CSV that ltmm.LongTailMetric or ltmm.MultiLabelMetric writes beside the log of each evaluation; of
several in a work dir the latest counts. Of detectors, --csv-name per_class_bbox.csv (or per_class_segm.csv) reads that
of ltmm.LVISMetric.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ltmm.visualization import comparison_table, per_class_csv, plot_accuracy_against_frequency, read_runs


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, help='work dirs, or per-class CSVs')
    parser.add_argument('--names', nargs='+', help='of the runs; the names of the work dirs when left out')
    parser.add_argument(
        '--csv-name',
        default='per_class.csv',
        help="as `csv_name` of LongTailMetric; 'per_class*.csv' for the experts too; 'per_class_bbox.csv' of detectors",
    )
    parser.add_argument('--markdown', action='store_true', help='print a Markdown table')
    parser.add_argument(
        '--out', type=Path, help='picture to write: accuracy or AP of each class over its training images'
    )
    parser.add_argument('--csv', type=Path, help='CSV to write: a row a class, a column of accuracy or AP a run')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write what is asked for."""
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
