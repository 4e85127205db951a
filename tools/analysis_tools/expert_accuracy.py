"""Test a model of several experts, and draw the accuracy of each against the training images of the class.

python tools/analysis_tools/expert_accuracy.py CONFIG CHECKPOINT --out experts.png

It also prints the figures of each expert. `compare_runs.py --csv-name 'per_class*.csv'` draws the same of a work dir in
which the experts have been tested.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process

from ltmm.evaluation import comparison_table, read_runs
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser
from ltmm.visualization import plot_accuracy_against_frequency


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = common_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--name', help='name of the model in the picture; default: that of the config')
    parser.add_argument('--out', type=Path, default=Path('experts.png'), help='image file (.png, .pdf, .svg)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = True
    cfg.test_evaluator = [dict(type='ltmm.LongTailMetric'), dict(type='ltmm.ExpertMetric')]
    build_runner(cfg).test()
    if is_main_process():
        runs = read_runs(cfg.work_dir, args.name or Path(args.config).stem, 'per_class*.csv')
        print(comparison_table(runs))
        print(f'Wrote {plot_accuracy_against_frequency(runs, args.out)}')


if __name__ == '__main__':
    with one_line_errors():
        main()
