"""Draw the modulated attention of OLTR over images of many- and few-shot classes, and print how much it selects.

python tools/analysis_tools/plot_attention.py CONFIG CHECKPOINT --out attention.png

Of any classifier with ltmm.ModulatedAttention. docs/guides/pictures.md says what the figures mean.
"""

import argparse
from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import read_config
from ltmm.utils.parsers import add_model_options, parse_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of the training')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='test', help='images to measure (test)')
    parser.add_argument('--per-class', type=int, default=5, help='images of each class that are measured (5)')
    parser.add_argument('--columns', type=int, default=6, help='images of each group that are drawn (6)')
    parser.add_argument('--seed', type=parse_seed, default=0, help='of the choice of images (0)')
    parser.add_argument('--out', type=Path, default=Path('attention.png'), help='image file (.png, .pdf, .svg)')
    add_model_options(parser)
    args = parser.parse_args()
    cfg = read_config(args)

    from ltmm.apis.attention import show_attention  # slow to import
    from ltmm.apis.split import load_split
    from ltmm.visualization.style import check_image_file

    check_image_file(args.out)  # before the model is loaded
    split = load_split(cfg, args.checkpoint, args.split, args.device)
    name = f'{Path(args.config).stem}, {Path(args.checkpoint).stem}'
    options = dict(per_class=args.per_class, columns=args.columns, seed=args.seed)
    show_attention(split, args.out, name=name, **options)


if __name__ == '__main__':
    with one_line_errors():
        main()
