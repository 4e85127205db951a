"""Correct a trained model without training: ``python tools/post_process.py CONFIG CHECKPOINT --method tau_norm``.

Searches the strength on validation data, unless --strength gives it, and evaluates on the test set. If the correction
can be folded into the classifier (logit_adjustment, tau_norm, temperature; norcal, logn and, with a softmax, fracal
on a linear layer), writes a checkpoint for the same config; otherwise writes a config as well, or only a config that
loads the old checkpoint.

For detectors of mmdet: norcal and fracal (two-stage, one-stage, DETR), logn (two-stage). fracal reads the boxes of the
training data for the layouts of the classes and takes the published strength 2, unless --strength or --grid say
otherwise; logn runs the model on the training data, one epoch or --num-images. NMS, score threshold and boxes per image
are those of the config, before and after. The other methods are for classifiers.

Files go to the folder of the checkpoint, or to --out. Logs go to the work directory of the config, or to --work-dir; in
a config that a training has written, it is that of the training, by its absolute path.

Files of logits can take the place of the model for corrections that need no more:
``python tools/post_process.py --logits VAL.npz TEST.npz --class-counts counts.json --method conformal`` writes the
predictions. Whether that model was trained with balancing is not known, and there is no warning if it was.

Calibration (temperature, iwts, ets, irm, irova, irovats, histogram) and conformal sets hold for test data with the
class mix of the validation data; only iwts expects a long-tailed validation split for a balanced test set.
"""

from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.parsers import common_parser

METHODS = dict(
    conformal=dict(type='ltmm.ConformalSets'),
    ets=dict(type='ltmm.EnsembleTemperatureScaling'),
    fracal=dict(type='ltmm.FRACAL'),
    gla=dict(type='ltmm.GeneralizedLogitAdjustment'),
    histogram=dict(type='ltmm.HistogramBinning'),
    irm=dict(type='ltmm.IsotonicCalibration'),
    irova=dict(type='ltmm.IsotonicCalibration', per_class=True),
    irovats=dict(type='ltmm.IsotonicCalibration', per_class=True, after_temperature=True),
    iwts=dict(type='ltmm.ImportanceWeightedTemperatureScaling'),
    logit_adjustment=dict(type='ltmm.LogitAdjustment'),
    logn=dict(type='ltmm.LogN'),
    ncm=dict(type='ltmm.NearestClassMean'),
    norcal=dict(type='ltmm.NorCal'),
    tau_norm=dict(type='ltmm.TauNorm'),
    tde=dict(type='ltmm.TotalDirectEffect'),
    temperature=dict(type='ltmm.TemperatureScaling'),
)
OPTIONS = dict(  # with the methods they belong to
    transform=('ncm',),
    similarity=('ncm',),
    alpha=('conformal', 'iwts'),
    score=('conformal',),
    class_share=('conformal',),
    head_classes=('iwts',),
    num_images=('logn',),
    zero_shot=('gla',),
    subtracts_prior=('gla',),
)
SEARCHED = ('fracal', 'logit_adjustment', 'norcal', 'tau_norm', 'tde', 'temperature')
SEARCH = dict(  # options of the search, with the methods that use them
    grid=SEARCHED,
    objective=SEARCHED,
    val_split=tuple(method for method in METHODS if method not in ('logn', 'ncm')),
    val_images=tuple(method for method in METHODS if method not in ('logn', 'ncm')),
)


def main() -> None:
    parser = common_parser(__doc__, needs_config=False)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument(
        '--logits',
        nargs=2,
        metavar=('VAL', 'TEST'),
        help='instead of config and checkpoint: files of tools/test.py --out, or .npz files with the arrays logits '
        '(N, C) and gt_label (N,), of a model with a softmax; with --class-counts',
    )
    parser.add_argument('--method', choices=sorted(METHODS), required=True)
    parser.add_argument(
        '--strength', type=float, help='tau, gamma, alpha, temperature or lambda (fracal), instead of a search'
    )
    parser.add_argument(
        '--grid',
        help='strengths to search, FIRST:LAST:HOW_MANY, such as 0:2:21 (temperature: L-BFGS without)',
    )
    parser.add_argument(
        '--val-split',
        choices=['val', 'holdout', 'train'],
        help="data to search on. val: the config's val_dataloader (default, unless it is the test set); holdout: "
        'training images left out of training (ltmm.LongTailed, ltmm.Holdout); train, for norcal and fracal: any '
        'training images',
    )
    parser.add_argument(
        '--val-images',
        type=at_least_one,
        help='images to search on: per class, from those that ltmm.LongTailed leaves out (20); in total for norcal and '
        'fracal (all; train: 1000)',
    )
    parser.add_argument(
        '--objective',
        help='metric to search by: balanced_accuracy, top1, nll; for norcal and fracal, a figure of ltmm.LVISMetric: '
        'bbox_AP, bbox_APr, ...',
    )
    parser.add_argument('--transform', choices=['un', 'l2n', 'cl2n'], help='feature transform of ncm (cl2n)')
    parser.add_argument('--similarity', choices=['l2', 'dot'], help='similarity of ncm (l2)')
    parser.add_argument(
        '--alpha',
        type=float,
        help='share of errors of conformal (0.1); of its own statistics in a rare class of iwts (0.998)',
    )
    parser.add_argument('--score', choices=['prevalence', 'softmax'], help='score of conformal (prevalence)')
    parser.add_argument(
        '--class-share', type=float, help='of conformal: 0 (default) one threshold, 1 one per class, or between'
    )
    parser.add_argument(
        '--head-classes',
        type=head_classes,
        help='frequent classes of iwts: many (default), the number of the most frequent, or labels such as 0,1,2',
    )
    parser.add_argument(
        '--num-images', type=at_least_one, help='training images that logn takes its moments from (one epoch)'
    )
    parser.add_argument(
        '--zero-shot',
        nargs=2,
        metavar=('VAL', 'TEST'),
        help='files of gla with the logits of a zero-shot model (.npy, .npz of tools/test.py), in dataset order',
    )
    parser.add_argument(
        '--subtracts-prior',
        action=BooleanOptionalAction,
        help='of gla: whether to subtract the training prior; default: yes, unless loss or sampler of the config have '
        'balanced the classes in training',
    )
    parser.add_argument('--class-counts', help='.json or .npy file, if the checkpoint holds no class distribution')
    parser.add_argument('--out', type=Path, help='folder of the files; default: that of the checkpoint, or of TEST.npz')
    args = parser.parse_args()
    given = {key: value for key in OPTIONS if (value := getattr(args, key)) is not None}
    search = {key: value for key in SEARCH if (value := getattr(args, key)) is not None}
    for key in given | search:
        if args.method not in (methods := (OPTIONS | SEARCH)[key]):
            parser.error(f'{option(key)} belongs to --method {" or ".join(methods)}')
    if args.method == 'gla':
        if 'zero_shot' not in given:
            parser.error('--method gla needs --zero-shot VAL TEST')
        given['zero_shot'] = dict(zip(('val', 'test'), args.zero_shot))

    if args.out is not None and args.out.exists() and not args.out.is_dir():
        parser.error(f'--out takes a folder, but {args.out} is a file')
    check_source(args, parser)

    from ltmm.engine.post_process import build_logit_files, build_post_processor
    from ltmm.registry import MODELS

    step = METHODS[args.method] | given
    strength = MODELS.get(step['type']).strength
    if args.strength is not None:
        if strength is None:
            parser.error('--strength needs a method with a strength')
        if given or search:
            parser.error(f'--strength leaves nothing to fit with {option(next(iter(given | search)))}')
        step[strength], search = args.strength, None
    elif args.grid is not None:
        search['grid'] = parse_grid(args.grid, parser)
    elif args.method == 'fracal' and search:
        parser.error(f'--method fracal searches only with --grid: give it, or leave out {option(next(iter(search)))}')
    if args.logits:
        source = Path(args.logits[1])
        processor = build_logit_files(*args.logits, MODELS.build(step), args.class_counts)
    else:
        source = Path(args.checkpoint)
        processor = build_post_processor(load_config(args), args.checkpoint, step, args.class_counts)
    processor.run(args.out or source.parent, f'{source.stem}_{args.method}', search)


def check_source(args: Namespace, parser: ArgumentParser) -> None:
    """Require either a config and a checkpoint or files of logits."""
    if not args.logits:
        if args.checkpoint is None:
            parser.error('expected CONFIG CHECKPOINT, or --logits VAL TEST --class-counts FILE')
        return
    for key in (
        'config',
        'val_split',
        'val_images',
        'cfg_options',
        'work_dir',
        'amp',
        'skip_broken',
        'trust',
        'launcher',
    ):
        if getattr(args, key) != parser.get_default(key):
            name = 'CONFIG' if key == 'config' else option(key)
            parser.error(f'--logits takes the place of the model and its data: leave out {name}')
    if Path(args.logits[0]).resolve() == Path(args.logits[1]).resolve():
        parser.error('--logits takes two files: what is fitted to the test data says nothing about them')
    if args.class_counts is None:
        parser.error('--logits needs --class-counts')


def option(key: str) -> str:
    """Name of an option on the command line."""
    return f'--{key.replace("_", "-")}'


def parse_grid(text: str, parser: ArgumentParser) -> tuple[float, float, int]:
    """Parse ``FIRST:LAST:HOW_MANY``."""
    try:
        first, last, num = text.split(':')
        return float(first), float(last), at_least_one(num)
    except (ArgumentTypeError, ValueError):
        parser.error(f'Expected --grid to be FIRST:LAST:HOW_MANY, but got {text}')


def head_classes(text: str) -> str | int | list[int]:
    """Parse ``many``, a number or several labels."""
    if text == 'many':
        return text
    return [int(label) for label in text.split(',')] if ',' in text else int(text)


def at_least_one(text: str) -> int:
    """Parse an integer that is at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'expected a whole number >= 1, but got {text}')
    return int(text)


if __name__ == '__main__':
    with one_line_errors():
        main()
