"""Train in stages: ``python tools/train_stages.py configs/cifar100_lt/crt_r32.py``.

The config names the configs of the stages before it in ``stages``. Each stage has its folder in the work dir, starts
from the last checkpoint of the one before, and is skipped when it is complete; the same command again goes on where the
last one was interrupted. A stage with ``post_process`` or ``mine_exemplars`` in its config trains nothing. The work dir
gets a link to the checkpoint of the last stage, which tools/test.py takes with CONFIG.
"""

from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.errors import exit_readably
from ltmm.utils.launch import common_parser


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument('--first-stage', type=Path, metavar='CHECKPOINT', help='take this for the first stage')
    parser.add_argument('--resume', action='store_true', help='as it is done anyway, for scripts that use train.py too')
    args = parser.parse_args()

    from ltmm.engine.stages import first_to_run, link_result, read_stages, run_stages

    with exit_readably(ValueError):
        stages = read_stages(args)
        start = first_to_run(stages, args.first_stage)
    checkpoint = run_stages(stages, start, args.first_stage)
    link_result(checkpoint, stages[-1].folder.parent)
    print(f'Test it: python tools/test.py {args.config} {checkpoint}')


if __name__ == '__main__':
    with exit_readably(if_interrupted='The same command goes on from the last checkpoint.'):
        main()
