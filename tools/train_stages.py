"""Train in stages: ``python tools/train_stages.py configs/cifar100_lt/crt_r32.py``.

The config lists its stages in ``stages``: training, post-processing, exemplar mining, feature extraction or one of your
own, see ltmm/engine/stages. Each stage has its own folder in the work dir and starts from the last checkpoint before
it. Completed stages are skipped: run the same command again to continue after an interruption. The work dir gets a link
to the last checkpoint; the last line of the output is the command that tests it.

`--cfg-options KEY=VALUE` sets all stages, `stage1.KEY=VALUE`, `stage2.KEY=VALUE`, ... the config of one,
`stages.0.KEY=VALUE`, ... what the config says of a stage itself.
"""

from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.parsers import common_parser, parse_training_args


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument(
        '--first-stage', type=Path, metavar='CHECKPOINT', help='use this instead of training the first stage'
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='ignored, since stages always resume; accepted for scripts written for train.py',
    )
    args = parse_training_args(parser)

    from ltmm.engine.stages import first_to_run, link_result, read_stages, run_stages
    from ltmm.utils.work_dir import lock_work_dir

    stages = read_stages(args)
    work_dir = stages[0].folder.parent
    lock_work_dir(work_dir)
    start = first_to_run(stages, args.first_stage)
    checkpoint = run_stages(stages, start, args.first_stage)
    if checkpoint is not None:
        link_result(checkpoint, work_dir)
        dumped = checkpoint.parent / Path(args.config).name  # with the options of the command line
        config = dumped if args.cfg_options and dumped.is_file() else args.config
        print(f'Test it: python tools/test.py {config} {checkpoint}')


if __name__ == '__main__':
    with one_line_errors(if_interrupted='The same command goes on from the last checkpoint.'):
        main()
