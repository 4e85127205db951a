"""Draw the objects of one class, such as a rare one, and the detections of several detectors.

python tools/analysis_tools/compare_detections.py ANNOTATIONS IMAGE_FOLDER CLASS BEFORE.npz AFTER.pth --configs AFTER.py

Each run is a checkpoint, the .npz file of `tools/test.py --out`, or a .json file of results in COCO format. Checkpoints
need their configs: the config inside is code of whoever wrote the file, and not executed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import mmcv
import numpy as np
import torch

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.datasets.labels.lvis_annotations import category_ids, read_lvis_annotations
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.utils.checkpoints import load_whole
from ltmm.utils.checks import check
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.environment import check_environment
from ltmm.utils.errors import InputError, did_you_mean
from ltmm.utils.parsers import common_parser
from ltmm.utils.predictions import read_predictions
from ltmm.visualization.detection_comparison import plot_detections


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file', help='annotation file of the test set, in LVIS or COCO format')
    parser.add_argument('image_folder', type=Path, help='folder to which the paths in the annotation file are relative')
    parser.add_argument('class_name', help='name of the class in the annotation file')
    parser.add_argument('runs', nargs='+', type=Path, help='.pth, .npz or .json files, one per column')
    parser.add_argument(
        '--configs', nargs='+', type=Path, default=[], help='configs of the .pth files: one per file, or one for all'
    )
    parser.add_argument('--names', nargs='+', help='names of the runs; default: folder and name of the files')
    parser.add_argument('--num-images', type=int, default=5, help='draw the first images with the class')
    parser.add_argument('--image-ids', nargs='+', type=int, help='draw these images instead')
    parser.add_argument('--score-thr', type=float, default=0.3, help='minimum score of the detections')
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='device for checkpoints'
    )
    parser.add_argument('--trust', action='store_true', help='run the code in checkpoints')
    parser.add_argument('--out', type=Path, default=Path('detections.png'), help='image file (.png, .pdf, .svg)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    check(num_images=(args.num_images, 'int >= 1'))
    content = read_lvis_annotations(args.ann_file)
    ground_truth = GroundTruth.from_content(content, args.ann_file)
    ids = category_ids(content, args.ann_file)
    if args.class_name not in ids:
        raise InputError(f'{args.ann_file} has no class {args.class_name!r}.{did_you_mean(args.class_name, list(ids))}')
    names = args.names or [f'{path.parent.name}/{path.stem}' for path in args.runs]
    if len(set(names)) != len(args.runs):
        raise InputError(f'Expected {len(args.runs)} different names, one per run, but got {names}.')
    chosen = chosen_images(args, ground_truth, ids[args.class_name])
    by_id = {image['id']: image for image in content['images']}
    paths = {image_id: image_path(by_id[image_id], args.image_folder) for image_id in chosen}
    configs = configs_of(args)
    runs = {
        name: read_detections(run, configs.get(run), args, paths, ids, ground_truth)
        for name, run in zip(names, args.runs)
    }
    pixels = [(image_id, mmcv.imread(path, channel_order='rgb')) for image_id, path in paths.items()]
    title = f'{args.class_name}: score at least {args.score_thr:g}; green: IoU at least 0.5 with an object'
    path = plot_detections(ground_truth, runs, ids[args.class_name], pixels, args.out, args.score_thr, title)
    print(f'Wrote {path}')


def configs_of(args: argparse.Namespace) -> dict[Path, Path]:
    """Return the config of each checkpoint."""
    checkpoints = [run for run in args.runs if run.suffix not in ('.json', '.npz')]
    if len(args.configs) not in ({1, len(checkpoints)} if checkpoints else {0}):
        raise InputError(
            f'Expected --configs with one config per checkpoint, or one for all, but got {len(args.configs)} for '
            f'{", ".join(map(str, checkpoints))}. Training writes the config beside the checkpoint.'
        )
    return dict(zip(checkpoints, args.configs * len(checkpoints) if len(args.configs) == 1 else args.configs))


def chosen_images(args: argparse.Namespace, ground_truth: GroundTruth, category_id: int) -> list[int]:
    """Return the ids of the images to draw."""
    if args.image_ids:
        unknown = set(args.image_ids) - set(ground_truth.image_ids.tolist())
        if unknown:
            raise InputError(f'{args.ann_file} has no image {min(unknown)}.')
        return args.image_ids
    with_class = set(ground_truth.images[ground_truth.categories == category_id].tolist())
    if not with_class:
        raise InputError(f'{args.ann_file} has no object of {args.class_name!r}. Choose images by --image-ids.')
    return [image_id for image_id in ground_truth.image_ids.tolist() if image_id in with_class][: args.num_images]


def image_path(image: dict, folder: Path) -> Path:
    """Find an image by the path in its URL, as in LVIS, or by its file name, as in COCO."""
    names = [urlparse(image.get('coco_url') or '').path.lstrip('/'), image.get('file_name')]
    paths = [folder / name for name in names if name]
    for path in paths:
        if path.is_file():
            return path
    raise FileNotFoundError(f'There is no image {paths[0]}. IMAGE_FOLDER has to be the `data_root` of the dataset.')


def read_detections(
    run: Path,
    config: Path | None,
    args: argparse.Namespace,
    paths: dict[int, Path],
    ids: dict[str, int],
    ground_truth: GroundTruth,
) -> Detections:
    """Read or compute the detections of a run, at least in the chosen images."""
    if run.suffix == '.json':
        return Detections.read(run, ground_truth)
    if config is not None:
        samples, category_of_label = detect(run, config, args, paths, ids)
    else:
        samples, category_of_label = read_predictions(run), np.array(list(ids.values()))
        if not all(
            'img_id' in s and {'bboxes', 'scores', 'labels'} <= s.get('pred_instances', {}).keys() for s in samples
        ):
            raise InputError(f'Expected predictions of a detector in {run}, but they have no `pred_instances`.')
    tested = {s['img_id'] for s in samples}
    if untested := [image_id for image_id in paths if image_id not in tested]:
        raise InputError(
            f'{run} has no predictions of image {untested[0]}: a test of other images wrote it. Draw images of '
            'the test by --image-ids.'
        )
    results = [
        (s['img_id'], {key: s['pred_instances'][key].numpy() for key in ('bboxes', 'scores', 'labels')})
        for s in samples
    ]
    num_labels = max((r['labels'].max(initial=-1) + 1 for _, r in results), default=0)
    if num_labels > len(category_of_label):
        raise InputError(f'{run} has class {num_labels - 1}, but the test set has {len(category_of_label)} classes.')
    return Detections.from_results(results, category_of_label)


def detect(
    checkpoint: Path, config: Path, args: argparse.Namespace, paths: dict[int, Path], ids: dict[str, int]
) -> tuple[list[dict], np.ndarray]:
    """Run the model of a checkpoint; return its predictions, and the category id per label."""
    check_environment(detection=True)
    from mmdet.apis import inference_detector, init_detector

    options = ['--work-dir', str(args.out.parent), *(['--trust'] if args.trust else [])]
    cfg = load_config(common_parser('').parse_args([str(config), *options]))
    if cfg.get('default_scope') != 'mmdet':
        raise InputError(f'Expected the config of a detector, but {config} has a model {cfg.model.type}.')
    model = init_detector(cfg, str(checkpoint), palette='random', device=args.device)
    load_whole(model, str(checkpoint))  # mmdet takes what fits
    classes = model.dataset_meta['classes']
    categories = [dict(id=category_id, name=name) for name, category_id in ids.items()]
    ids = category_ids(dict(categories=categories), f'the annotation file, for {checkpoint},', classes)
    found = [inference_detector(model, str(path)).cpu().pred_instances for path in paths.values()]
    samples = [dict(img_id=image_id, pred_instances=pred) for image_id, pred in zip(paths, found)]
    return samples, np.array(list(ids.values()))


if __name__ == '__main__':
    with one_line_errors():
        main()
