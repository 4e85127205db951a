"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

from pathlib import Path

import mmengine
from mmengine.config import Config

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser
from ltmm.utils.predictions import DumpPredictions


def main() -> None:
    parser = common_parser('Evaluate a checkpoint.')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='write the metrics to this .json file, or the predictions to this .npz file')
    args = parser.parse_args()
    if args.out and Path(args.out).suffix not in ('.json', '.npz'):
        parser.error(
            f'--out takes a .json file (metrics) or a .npz file (predictions), but got {args.out}. A .pkl file, which '
            "runs code when it is read: test_evaluator=[..., dict(type='DumpDetResults', out_file_path='x.pkl')]"
        )
    cfg = Config(load_config(args)._cfg_dict)  # nameless: MMEngine would write it over the config of the training
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = True
    runner = build_runner(cfg)
    if args.out and args.out.endswith('.npz'):
        runner.test_evaluator.metrics.append(DumpPredictions(args.out))
    metrics = runner.test()
    if args.out and args.out.endswith('.json') and runner.rank == 0:
        mmengine.dump(metrics, args.out, indent=2)


if __name__ == '__main__':
    with one_line_errors():
        main()
