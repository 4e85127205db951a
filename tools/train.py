"""Train any config: ``python tools/train.py configs/cifar100_lt/ce_r32.py``."""

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config, use_amp
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser, parse_training_args
from ltmm.utils.trackers import use_trackers
from ltmm.utils.work_dir import latest_checkpoint, lock_work_dir


def main() -> None:
    parser = common_parser('Train a model.')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint, or, without a value, from the latest one in the work directory',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size of all processes'
    )
    args = parse_training_args(parser)
    cfg = load_config(args)

    from ltmm.engine.stages import check_needs_no_stage  # slow to import

    if args.resume and (checkpoint := latest_checkpoint(cfg.work_dir) if args.resume == 'auto' else args.resume):
        cfg.resume, cfg.load_from = True, checkpoint
    check_needs_no_stage(cfg)
    lock_work_dir(cfg.work_dir)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            parser.error('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config')
        cfg.auto_scale_lr.enable = True
    use_trackers(cfg)
    build_runner(cfg).train()


if __name__ == '__main__':
    with one_line_errors(if_interrupted='The same command with --resume goes on from the last checkpoint.'):
        main()
