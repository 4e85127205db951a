"""Plot features of many- and few-shot classes by t-SNE, UMAP or PCA, and print how well they separate the classes.

python tools/analysis_tools/plot_features.py CONFIG BEFORE.pth AFTER.pth --out features.png
python tools/analysis_tools/plot_features.py CONFIG_1 ONE.pth CONFIG_2 OTHER.pth --names plain contrastive
python tools/analysis_tools/plot_features.py FEATURES_BEFORE FEATURES_AFTER --method umap

Of folders that tools/extract_features.py wrote, or of checkpoints, each behind its config. All panels have the same
images, equally many of each class. The figures are of the whole space of the features: docs/guides/pictures.md.
"""

import argparse
from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.parsers import add_model_options, parse_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', nargs='+', help='CONFIG CHECKPOINT [CHECKPOINT ...], folders of features, or both')
    parser.add_argument('--names', nargs='+', help='name of each checkpoint or folder')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='test', help='images to plot (test)')
    parser.add_argument('--method', choices=['tsne', 'umap', 'pca'], default='tsne', help='projection (tsne)')
    parser.add_argument('--perplexity', type=float, default=30, help='of t-SNE; the neighbors of UMAP (30)')
    parser.add_argument('--per-class', type=int, default=20, help='images of each class; with fewer, none (20)')
    parser.add_argument('--classes-per-group', type=int, help='classes drawn of each group; default: all')
    parser.add_argument('-k', type=int, default=10, help='neighbors that vote for a class (10)')
    parser.add_argument('--no-normalize', action='store_true', help='keep the lengths of the features')
    parser.add_argument('--seed', type=parse_seed, default=0, help='of the images and the projection (0)')
    parser.add_argument('--out', type=Path, default=Path('features.png'), help='image file (.png, .pdf, .svg)')
    add_model_options(parser)
    args = parser.parse_args()

    from ltmm.apis.feature_comparison import compare_features  # slow to import
    from ltmm.apis.feature_sources import open_sources
    from ltmm.visualization.style import check_image_file

    check_image_file(args.out)  # before the models are loaded
    compare_features(
        open_sources(args),
        args.out,
        args.split,
        method=args.method,
        perplexity=args.perplexity,
        per_class=args.per_class,
        classes_per_group=args.classes_per_group,
        k=args.k,
        normalize=not args.no_normalize,
        seed=args.seed,
    )


if __name__ == '__main__':
    with one_line_errors():
        main()
