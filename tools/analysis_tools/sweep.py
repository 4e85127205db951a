"""Search for the best settings of a config on validation data.

    python tools/analysis_tools/sweep.py configs/cifar100_lt/logit_adjustment_r32.py --trials 20 \\
        --search model.head.loss.tau=0.5:2.0 optim_wrapper.optimizer.lr=0.01:1.0:log

Where the validation data of a config are its test data, a share of the training images is held out in their place
(--holdout). Run the command again to go on. The best setting is printed as --cfg-options, for a training with all
training images and a test.
"""

import argparse
import shlex
from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.experiments.cli import add_launcher_arguments, check_launcher_arguments, launcher_of
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.parsers import common_parser, parse_seed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a training without stages')
    parser.add_argument(
        '--search', nargs='+', required=True, help='KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C', metavar='KEY=RANGE'
    )
    parser.add_argument('--trials', type=int, default=20, help='trainings; default: 20')
    parser.add_argument('--metric', default='long_tail/balanced_accuracy', help='figure of the validation')
    parser.add_argument('--minimize', action='store_true', help='search the lowest figure')
    parser.add_argument('--holdout', type=float, default=0.2, help='share of the training images, where needed')
    parser.add_argument('--seed', type=parse_seed, default=0, help='of the search and of all trainings')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/sweep'), help='folder of the trials')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings of all trials')
    add_launcher_arguments(parser)
    args = parser.parse_args()
    check_launcher_arguments(parser, args)
    return args


def main() -> None:
    args = parse_args()
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    cfg = load_config(common_parser('').parse_args([args.config, '--work-dir', str(args.work_dir), *options]))

    from ltmm.experiments.sweep import Sweep, read_search, with_validation_data  # slow to import
    from ltmm.utils.work_dir import lock_work_dir

    lock_work_dir(args.work_dir)
    cfg = with_validation_data(cfg, args.holdout)
    search = read_search(args.search)
    sweep = Sweep(cfg, search, args.metric, args.work_dir, args.minimize, args.seed)
    sweep.run(args.trials, *launcher_of(args, args.trials))
    print(f'Best {args.metric} of {sweep.num_complete} trials: {sweep.study.best_value:.4g}. Train and test with it:')
    print(f'python tools/train.py {shlex.join([args.config, "--cfg-options", *args.cfg_options, *sweep.best])}')


if __name__ == '__main__':
    with one_line_errors(if_interrupted='The same command goes on.'):
        main()
