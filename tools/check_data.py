"""Check the data of a config before a training: python tools/check_data.py CONFIG --out report.html

Exits with 1 if there are errors: images that cannot be read, the same image in training and test data, other classes.
"""

import sys
import tempfile
from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.checks import check
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.errors import InputError
from ltmm.utils.parsers import common_parser


def main() -> None:
    """Print the report, or write it as a page."""
    parser = common_parser('Check the data of a config.')
    parser.add_argument('--out', type=Path, help='HTML file to write')
    parser.add_argument('--limit', type=int, metavar='N', help='read the first N images of each part only')
    parser.add_argument('--workers', type=int, help='processes that read images; one per CPU, at most 8')
    args = parser.parse_args()
    check(limit=(args.limit, 'int >= 1 or None'), workers=(args.workers, 'int >= 0 or None'))
    if args.out and args.out.suffix not in ('.html', '.htm'):
        raise InputError(f'Expected --out to be an .html file, but got {args.out}.')
    with tempfile.TemporaryDirectory() as folder:
        args.work_dir = args.work_dir or folder  # nothing is written to it
        cfg = load_config(args)
        from ltmm.datasets.check import check_data  # after the registries are filled

        report = check_data(cfg, Path(args.config).stem, args.limit, args.workers, progress=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(report.page(), encoding='utf-8')
        print(f'Wrote {args.out}: {report.num_errors} of {len(report.findings)} findings are errors.')
    else:
        print(report.text())
    sys.exit(1 if report.num_errors else 0)


if __name__ == '__main__':
    with one_line_errors():
        main()
