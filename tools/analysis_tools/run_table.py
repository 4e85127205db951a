"""Train configs with several seeds, test the last checkpoints, and print the results as a table.

    python tools/analysis_tools/run_table.py configs/cifar100_lt/*_r32.py --seeds 0 1 2 --work-dir work_dirs/table
    python tools/analysis_tools/run_table.py --recipe configs/cifar100_lt/leaderboard.yml

A recipe is a YAML file of settings under which the configs are compared: `all` of every stage, `training` of trainings
from scratch (the other stages of a method keep their own), and `methods`, `{config: its own settings}`; a setting
`null` takes back one of the former.

`--launcher slurm` or `ray` sends the runs to a cluster. `--compare top1` adds the paired difference from the first
method, `--out table.csv table.json` writes all figures.

Run the command again to skip complete runs, resume interrupted ones and retry failed ones. A run calls `tools/train.py`
(`tools/train_stages.py` for a config with `stages`) and `tools/test.py` in a process of its own, with its output in
WORK_DIR/<config>/seed_<seed>/output.log. A first stage that is also one of the configs is trained once. The unit
of the cost is the first method of the recipe, or else the first config. The record for configs/<benchmark>/results.yml
(see model_zoo.py) is written to WORK_DIR/results.yml, or to the files of `--out`: .yml, .csv or .json.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ltmm.experiments import plan, run_all
from ltmm.experiments.cli import add_launcher_arguments, check_launcher_arguments, launcher_of
from ltmm.experiments.tables import (
    COST,
    check_classes,
    check_columns,
    columns,
    explanation,
    points,
    table,
    write,
)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.environment import EnvironmentProblem, check_extra
from ltmm.utils.errors import InputError
from ltmm.utils.parsers import parse_seed

SUFFIXES = ('.yml', '.yaml', '.csv', '.json')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=Path, help='configs to compare; default: all of the recipe')
    parser.add_argument('--recipe', type=Path, help='YAML file of settings')
    parser.add_argument(
        '--seeds', nargs='+', type=parse_seed, action='extend', help='seeds of each config; default: 0 1 2'
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/table'), help='folder of the runs')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as in tools/train.py')
    parser.add_argument('--amp', action='store_true', help='as in tools/train.py')
    parser.add_argument(
        '--cost',
        action='store_true',
        help='add the time of training and test, in units of the first method',
    )
    parser.add_argument('--metrics', nargs='+', default=[], help='more columns, such as calibration/ece')
    parser.add_argument(
        '--compare',
        nargs='+',
        default=[],
        metavar='COLUMN',
        help='add the difference from the first method in these columns: paired t-test over seeds, corrected by Holm',
    )
    parser.add_argument('--plot', type=Path, help='image of the accuracy against the cost')
    parser.add_argument('--no-run', action='store_true', help='only print the table of complete runs')
    parser.add_argument('--out', nargs='+', type=Path, help='.yml, .csv or .json files; default: WORK_DIR/results.yml')
    add_launcher_arguments(parser)
    args = parser.parse_args(argv)
    args.seeds = args.seeds or [0, 1, 2]
    args.out = args.out or [args.work_dir / 'results.yml']
    if not args.configs and not args.recipe:
        parser.error('expected configs or a --recipe')
    if bad := [path for path in args.out if path.suffix not in SUFFIXES]:
        parser.error(f'--out: expected files that end in {", ".join(SUFFIXES)}, but got {bad[0]}')
    if bad := [option for option in args.cfg_options if '=' not in option]:
        parser.error(f'--cfg-options takes KEY=VALUE, but got {bad[0]}')
    if any(option.startswith('randomness.seed=') for option in args.cfg_options):
        parser.error('--cfg-options randomness.seed: give --seeds, which each run gets one of')
    check_launcher_arguments(parser, args)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print the table and write the files; exit with status 1 if a run failed."""
    args = parse_args(argv)
    try:
        runs = plan(args)
        metrics = columns(runs, args.metrics)
        check_columns(runs, metrics, args.compare)
    except (OSError, ValueError) as e:
        sys.exit(f'{type(e).__name__}: {e}')
    try:
        if args.compare or any(path.suffix in ('.csv', '.json') for path in args.out):
            check_extra('calibration', 'scipy')
        failures = {} if args.no_run else run_all(runs, *launcher_of(args, len(runs)))
        check_classes(runs)
    except EnvironmentProblem as e:
        sys.exit(f'{e}')
    except InputError as e:
        sys.exit(f'{e} (--no-run prints a table of complete runs.)')
    metrics |= {'cost': COST} if args.cost else {}
    if args.no_run and not any(run.is_complete for run in runs):
        sys.exit(f'--no-run: none of the {len(runs)} runs is complete in {args.work_dir}.')
    command = f'python tools/analysis_tools/run_table.py {shlex.join(sys.argv[1:] if argv is None else argv)}'
    for path in args.out:
        write(path, runs, metrics, command)
    print(f'\n{table(runs, metrics, args.compare)}\n')
    print(*filter(None, [explanation(runs, metrics, args.compare)]), f'Wrote {", ".join(map(str, args.out))}', sep='\n')
    if args.plot:
        from ltmm.visualization import plot_accuracy_against_cost

        plot_accuracy_against_cost(points(runs), args.plot, baseline=runs[0].baseline.name)
    if failures:
        sys.exit('\n'.join([f'{len(failures)} runs failed:', *(f'- {run}: {why}' for run, why in failures.items())]))


if __name__ == '__main__':
    with one_line_errors(if_interrupted='The same command goes on.'):
        main()
