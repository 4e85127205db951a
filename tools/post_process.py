"""Correct a trained model without training: ``python tools/post_process.py CONFIG CHECKPOINT --method tau_norm``.

Searches the strength on validation data, unless --strength gives it, and evaluates on the test set. If the correction
can be folded into the classifier (logit_adjustment, tau_norm, temperature and norcal on a linear layer), writes a
checkpoint for the same config; otherwise writes a config as well, or only a config that loads the old checkpoint.
norcal is for mmdet's two-stage, one-stage and DETR detectors, the other methods are for classifiers.
"""

from argparse import ArgumentParser
from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.launch import common_parser, load_config

METHODS = dict(
    logit_adjustment='LogitAdjustment',
    ncm='NearestClassMean',
    norcal='NorCal',
    tau_norm='TauNorm',
    tde='TotalDirectEffect',
    temperature='TemperatureScaling',
)


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--method', choices=sorted(METHODS), required=True)
    parser.add_argument('--strength', type=float, help='tau, gamma, alpha or temperature, instead of a search')
    parser.add_argument('--grid', help='strengths to search, FIRST:LAST:HOW_MANY, such as 0:2:21')
    parser.add_argument(
        '--val-split',
        choices=['val', 'holdout', 'train'],
        help="data to search on. val: the config's val_dataloader (default, unless it is the test set); holdout: "
        'training images left out of training (ltmm.LongTailed, ltmm.Holdout); train, for norcal: any training images',
    )
    parser.add_argument(
        '--val-images',
        type=at_least_one,
        help='images to search on: per class with ltmm.LongTailed (20), in total for norcal with train (1000)',
    )
    parser.add_argument(
        '--objective',
        help='metric to search by: balanced_accuracy, top1, nll (for temperature); bbox_AP, bbox_APr, ... (for norcal)',
    )
    parser.add_argument('--transform', choices=['un', 'l2n', 'cl2n'], help='feature transform of ncm (cl2n)')
    parser.add_argument('--similarity', choices=['l2', 'dot'], help='similarity of ncm (l2)')
    parser.add_argument('--class-counts', help='.json or .npy file, if the checkpoint holds no class distribution')
    parser.add_argument('--out', type=Path, help='output folder; default: folder of the checkpoint')
    args = parser.parse_args()
    ncm = {key: getattr(args, key) for key in ('transform', 'similarity') if getattr(args, key)}
    if ncm and args.method != 'ncm':
        parser.error(f'--{" --".join(ncm)} belongs to --method ncm')
    if args.strength is not None and (args.method == 'ncm' or args.grid):
        parser.error('--strength needs a method with a strength, and no --grid')

    cfg = load_config(args)

    from ltmm.engine.post_process import post_process
    from ltmm.registry import MODELS

    step = dict(type=f'ltmm.{METHODS[args.method]}', **ncm)
    search = None
    if args.strength is not None:
        step[MODELS.get(step['type']).strength] = args.strength
    else:
        grid = parse_grid(args.grid, parser) if args.grid else None
        search = dict(grid=grid, val_split=args.val_split, val_images=args.val_images, objective=args.objective)
    folder = args.out or Path(args.checkpoint).parent
    name = f'{Path(args.checkpoint).stem}_{args.method}'
    post_process(cfg, args.checkpoint, step, folder, name, search, args.class_counts)


def parse_grid(text: str, parser: ArgumentParser) -> tuple[float, float, int]:
    """Parse ``FIRST:LAST:HOW_MANY``."""
    try:
        first, last, num = text.split(':')
        return float(first), float(last), at_least_one(num)
    except ValueError:
        parser.error(f'Expected --grid to be FIRST:LAST:HOW_MANY, but got {text}')


def at_least_one(text: str) -> int:
    """Parse an integer that is at least 1."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


if __name__ == '__main__':
    with one_line_errors():
        main()
