"""Report the calibration of a classifier and draw its reliability diagram.

python tools/analysis_tools/reliability_diagram.py CONFIG CHECKPOINT
python tools/analysis_tools/reliability_diagram.py PREDICTIONS      # a .pkl of `tools/test.py --out`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import mmengine
from mmengine.dist import is_main_process

from ltmm.evaluation import CalibrationMetric
from ltmm.utils.cli import one_line_errors
from ltmm.utils.launch import build_runner, common_parser, load_config
from ltmm.visualization import plot_reliability_diagram

BATCH_SIZE = 256


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = common_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; omit it for predictions')
    parser.add_argument('--num-bins', type=int, default=15, help='number of bins of equal width')
    parser.add_argument('--out', type=Path, default=Path('reliability.png'), help='plot to write (.png, .pdf, .svg)')
    args = parser.parse_args(argv)
    args.is_dump = Path(args.config).suffix == '.pkl'
    if args.is_dump == bool(args.checkpoint):
        parser.error('expected CONFIG and CHECKPOINT, or the .pkl file of `tools/test.py --out` only')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Print the metrics and write the plot."""
    args = parse_args(argv)
    try:
        metric, figures = (_of_predictions if args.is_dump else _of_checkpoint)(args)
        if not is_main_process():
            return
        print('\n'.join(f'{name.removeprefix("calibration/"):<14}{value:8.4g}' for name, value in figures.items()))
        print(f'Wrote {plot_reliability_diagram(metric.bins, args.out, title=Path(args.config).stem)}')
    except ValueError as e:
        sys.exit(f'{type(e).__name__}: {e}')


def _of_predictions(args: argparse.Namespace) -> tuple[CalibrationMetric, dict[str, float]]:
    samples = mmengine.load(args.config)
    metric = CalibrationMetric(args.num_bins)
    for start in range(0, len(samples), BATCH_SIZE):
        metric.process(None, samples[start : start + BATCH_SIZE])
    return metric, metric.evaluate(len(samples))


def _of_checkpoint(args: argparse.Namespace) -> tuple[CalibrationMetric, dict[str, float]]:
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
