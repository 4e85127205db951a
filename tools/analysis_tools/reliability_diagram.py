"""Compute the calibration errors of a classifier and draw its reliability diagram.

python tools/analysis_tools/reliability_diagram.py CONFIG CHECKPOINT
python tools/analysis_tools/reliability_diagram.py PREDICTIONS      # the .npz file of `tools/test.py --out`
python tools/analysis_tools/reliability_diagram.py BINS             # calibration_bins.csv of ltmm.CalibrationMetric
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process

from ltmm.evaluation import CalibrationBins, CalibrationMetric
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser
from ltmm.utils.predictions import read_predictions
from ltmm.visualization import plot_reliability_diagram

BATCH_SIZE = 256


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = common_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file, with a config')
    parser.add_argument('--num-bins', type=int, default=15, help='bins of equal width')
    parser.add_argument('--out', type=Path, default=Path('reliability.png'), help='image file (.png, .pdf, .svg)')
    args = parser.parse_args(argv)
    args.kind = Path(args.config).suffix
    if (args.kind in ('.npz', '.csv')) == bool(args.checkpoint):
        parser.error('expected CONFIG and CHECKPOINT, or one .npz or .csv file')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.kind == '.csv':
        bins = CalibrationBins.read(args.config)
    else:
        metric, figures = (evaluate_predictions if args.kind == '.npz' else evaluate_checkpoint)(args)
        if not is_main_process():
            return
        print('\n'.join(f'{name.removeprefix("calibration/"):<14}{value:8.4g}' for name, value in figures.items()))
        bins = metric.bins
    print(f'Wrote {plot_reliability_diagram(bins, args.out, title=Path(args.config).stem)}')


def evaluate_predictions(args: argparse.Namespace) -> tuple[CalibrationMetric, dict[str, float]]:
    samples = read_predictions(args.config)
    metric = CalibrationMetric(args.num_bins)
    for start in range(0, len(samples), BATCH_SIZE):
        metric.process(None, samples[start : start + BATCH_SIZE])
    return metric, metric.evaluate(len(samples))


def evaluate_checkpoint(args: argparse.Namespace) -> tuple[CalibrationMetric, dict[str, float]]:
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = True
    cfg.test_evaluator = dict(type='ltmm.CalibrationMetric', num_bins=args.num_bins)
    runner = build_runner(cfg)
    figures = runner.test()
    return runner.test_evaluator.metrics[0], figures


if __name__ == '__main__':
    with one_line_errors():
        main()
