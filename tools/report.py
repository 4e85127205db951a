"""Write one self-contained HTML page about runs: ``python tools/report.py RUN... --out report.html``.

A RUN is a work dir of tools/train.py, or one of a seed of run_table.py. Confusions and pictures need the predictions:
``python tools/test.py CONFIG CHECKPOINT --work-dir RUN --out RUN/predictions.npz``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ltmm.utils.cli import one_line_errors
from ltmm.utils.environment import check_extra


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='work dirs; seeds of one config are averaged')
    parser.add_argument('--out', type=Path, default=Path('report.html'), help='the page; default: report.html')
    parser.add_argument('--title', default='', help='title of the page; default: the names of the methods')
    parser.add_argument(
        '--config', help='config whose test set has the pictures, if the predictions hold no paths (CIFAR, .npz files)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    check_extra('report', 'plotly')
    from ltmm.visualization.report import write_report

    pictures = None
    if args.config:
        from ltmm.visualization.report.test_set import pictures_of_test_set

        pictures = pictures_of_test_set(args.config)
    path = write_report(args.runs, args.out, args.title, pictures)
    print(f'Wrote {path} ({path.stat().st_size / 1e6:.1f} MB). It needs no network: open it in a browser, or send it.')


if __name__ == '__main__':
    with one_line_errors():
        main()
