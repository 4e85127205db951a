"""Say which of two detectors is better on LVIS or COCO data, and how sure that is, per group of classes.

python tools/analysis_tools/compare_lvis.py ANNOTATIONS A.json B.json

A and B are files of detections in COCO format on the same images, as `outfile_prefix` of ltmm.LVISMetric writes them.
The intervals are from a paired bootstrap: the test images are drawn with replacement, both detectors are evaluated on
the same draw, 1,000 times. They do not cover variation between training seeds.

Rare, common and frequent classes are those of `frequency` in the annotation file, or of --class-counts. Where the test
set is a part of the annotation file, as with ltmm.Holdout, --covered leaves out the images without any detection.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels.lvis_annotations import read_lvis_annotations
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.evaluation.lvis.lvis_eval import MAX_PER_IMAGE, LVISEvaluator
from ltmm.evaluation.lvis.paired_bootstrap import Difference, paired_differences
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.checks import check
from ltmm.utils.cli import one_line_errors
from ltmm.utils.errors import InputError

GROUPS = dict(APr='r', APc='c', APf='f')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file', help='annotation file of the test set, in LVIS or COCO format')
    parser.add_argument('a', metavar='A', type=Path, help='.json file of detections')
    parser.add_argument('b', metavar='B', type=Path, help='.json file of detections to compare with')
    parser.add_argument('--names', nargs=2, help='names of the detectors; default: those of the files')
    parser.add_argument('--iou-type', choices=['bbox', 'segm'], default='bbox', help='boxes (default) or masks')
    parser.add_argument(
        '--covered', action='store_true', help='evaluate only images that have detections in A or B; default: all'
    )
    parser.add_argument(
        '--class-counts',
        type=Path,
        help='.json file of class_distribution.py --json, or {class: training images}, for rare (up to 10), common '
        '(up to 100) and frequent classes',
    )
    parser.add_argument(
        '--classes', nargs='+', help='names of classes to compare as one more group, such as those of a subset'
    )
    parser.add_argument('--num-resamples', type=int, default=1000, help='bootstrap draws of the images')
    parser.add_argument('--confidence', type=float, default=0.95, help='coverage of the intervals')
    parser.add_argument(
        '--max-per-image', type=int, default=MAX_PER_IMAGE, help='best detections of an image that count (300)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the draws')
    parser.add_argument('--out', type=Path, help='.json file for the figures')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    check(
        num_resamples=(args.num_resamples, 'int >= 2'),
        confidence=(args.confidence, 'in (0, 1)'),
        max_per_image=(args.max_per_image, 'int >= 1'),
        seed=(args.seed, 'int >= 0'),
    )
    runs = [args.a, args.b]
    names = args.names or [path.stem for path in runs]
    if names[0] == names[1]:
        names = [str(path) for path in runs] if args.names is None else names
    if names[0] == names[1]:
        raise InputError(f'Expected two different names, but got {names[0]!r} twice.')
    segm = args.iou_type == 'segm'
    content = read_lvis_annotations(args.ann_file, masks=segm)
    ground_truth = GroundTruth.from_content(content, args.ann_file, masks=segm)
    detections = [Detections.read(path, ground_truth, masks=segm) for path in runs]
    images = ground_truth.image_ids
    if args.covered:
        images = np.unique(np.concatenate([each.images for each in detections]))
        if not len(images):
            raise InputError(f'--covered: expected detections, but {runs[0]} and {runs[1]} have none.')
        print(f'{len(images)} of {len(ground_truth.image_ids)} images have detections: the others are left out')
    for name, each in zip(names, detections):
        print(describe(name, each, ground_truth, len(images), args.max_per_image), flush=True)
    found = paired_differences(
        *(LVISEvaluator(ground_truth, each, args.iou_type, images) for each in detections),
        ground_truth,
        groups_of(content['categories'], args),
        args.num_resamples,
        args.confidence,
        args.max_per_image,
        args.seed,
    )
    if not found:
        raise InputError(f'{args.ann_file} has no object to detect.')
    print(table(found, names, args.confidence))
    if args.out is not None:
        figures = {group: dict(vars(each), difference=each.a - each.b) for group, each in found.items()}
        content = dict(names=names, iou_type=args.iou_type, confidence=args.confidence, groups=figures)
        AtomicLocalBackend().put(json.dumps(content, indent=1).encode(), args.out)
        print(f'Wrote {args.out}')


def describe(name: str, detections: Detections, ground_truth: GroundTruth, num_images: int, limit: int) -> str:
    """Describe a run in one line: images covered, boxes beyond their images, detections beyond the limit."""
    covered = len(np.unique(detections.images))
    notes = [f'{len(detections.images)} detections in {covered} of {num_images} images']
    if covered < num_images:
        notes.append('objects in the other images count as missed')
    if beyond := detections.num_beyond_images(ground_truth):
        notes.append(f'{beyond} boxes reach beyond their images: expected [x, y, w, h] in pixels')
    return f'{name}: ' + '; '.join(filter(None, [*notes, detections.beyond(limit)]))


def groups_of(categories: Sequence[Mapping], args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Masks of all classes, of the rare, common and frequent ones, and of those asked for."""
    if args.class_counts is not None:
        counts = ClassDistribution.build(args.class_counts)
        letters = counts.in_label_order([category['name'] for category in categories]).lvis_frequency
    else:
        letters = np.array([category.get('frequency', '') for category in categories])
    groups = dict(AP=np.ones(len(categories), dtype=bool))
    groups |= {name: letters == letter for name, letter in GROUPS.items() if (letters == letter).any()}
    if args.classes:
        known = [category['name'] for category in categories]
        if unknown := set(args.classes) - set(known):
            raise InputError(f'{args.ann_file} has no class {min(unknown)!r}.')
        groups['AP_classes'] = np.isin(known, args.classes)
    return groups


def table(found: Mapping[str, Difference], names: Sequence[str], confidence: float) -> str:
    """Figures per group in percent, and a sentence for each."""
    a, b = names
    width = max(10, *map(len, names)) + 2
    lines = [f'{"":<12}{"classes":>8}{a:>{width}}{b:>{width}}{"A - B":>9}  {f"{100 * confidence:g}% interval":>18}']
    sentences = []
    for group, each in found.items():
        difference = 100 * (each.a - each.b)
        low, high = 100 * each.low, 100 * each.high
        interval = f'[{low:+.2f}, {high:+.2f}]'
        lines.append(
            f'{group:<12}{each.num_classes:>8}{100 * each.a:>{width}.2f}{100 * each.b:>{width}.2f}{difference:>+9.2f}  '
            f'{interval:>18}'
        )
        if min(low, difference) > 0:
            sentences.append(f'{group}: {a} beats {b} by {difference:.2f} (interval {low:.2f} to {high:.2f}).')
        elif max(high, difference) < 0:
            sentences.append(f'{group}: {b} beats {a} by {-difference:.2f} (interval {-high:.2f} to {-low:.2f}).')
        else:
            sentences.append(f'{group}: no difference shown between {a} and {b} (interval {low:+.2f} to {high:+.2f}).')
    return '\n'.join([*lines, *sentences])


if __name__ == '__main__':
    with one_line_errors():
        main()
