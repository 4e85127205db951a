"""Predict images: ``python tools/predict.py CONFIG CHECKPOINT photos/ --out predictions.csv``.

Classes with scores, several labels, or boxes and masks, as the model is made for. The class names come from the
checkpoint; the data set of the config need not exist. See docs/guides/predict.md.
"""

from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import read_config
from ltmm.utils.parsers import model_parser


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument('images', nargs='+', help='files, folders (with sub-folders), patterns such as "photos/*.jpg"')
    parser.add_argument(
        '--out',
        action='append',
        type=Path,
        default=[],
        help='a folder for drawn images, a .json file or a .csv file; may be repeated; default: print the predictions',
    )
    parser.add_argument('--top-k', type=int, help='classes per image (5), for models with one label per image')
    parser.add_argument('--threshold', type=float, help='lowest score: of several labels (0.5), of boxes (0.3)')
    parser.add_argument('--batch-size', type=int, default=16, help='images in a batch (16)')
    parser.add_argument('--workers', type=int, default=2, help='processes that load images (2)')
    parser.add_argument('--skip-broken', type=int, default=0, metavar='N', help='leave out at most N broken images')
    parser.add_argument('--overwrite', action='store_true', help='write over the files of --out')
    args = parser.parse_args()
    cfg = read_config(args)

    from ltmm.apis.image_files import find_images  # slow to import
    from ltmm.apis.outputs import check_out
    from ltmm.apis.predict import run_predictions
    from ltmm.apis.trained_model import load_trained_model

    for out in args.out:
        check_out(out, args.overwrite)
    paths = find_images(args.images)
    trained = load_trained_model(cfg, args.checkpoint, args.device)
    records = run_predictions(
        trained,
        paths,
        args.out,
        dict(config=args.config, checkpoint=args.checkpoint, correction=trained.correction),
        args.overwrite,
        args.size,
        {key: getattr(args, key) for key in ('top_k', 'threshold') if getattr(args, key) is not None},
        batch_size=args.batch_size,
        num_workers=args.workers,
        max_broken=args.skip_broken,
    )
    if args.out:
        print(f'Wrote {", ".join(map(str, args.out))}: {len(records)} images.')
    print(f'Scores corrected by {trained.correction}.' if trained.correction else 'Scores as the network gives them.')


if __name__ == '__main__':
    with one_line_errors():
        main()
