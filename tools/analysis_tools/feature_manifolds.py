"""Measure volume, density and curvature of the features of each class, and plot them against its training images.

python tools/extract_features.py CONFIG CHECKPOINT --out FEATURES
python tools/analysis_tools/feature_manifolds.py FEATURES --out manifolds.png --csv manifolds.csv

The measures are those of Ma et al., Curvature-Balanced Feature Manifold Learning, CVPR 2023: curvature by the code of
the authors, gaussian_curvature as ltmm.CurvatureLoss computes it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ltmm.datasets import FeatureDataset
from ltmm.evaluation.reports import manifold_csv, manifold_rows, manifold_summary
from ltmm.utils.cli import one_line_errors
from ltmm.visualization import plot_manifolds


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('features', help='folder that tools/extract_features.py wrote')
    parser.add_argument('--split', default='train', help='split of the features; training images are counted in train')
    parser.add_argument('-k', type=int, default=10, help='neighbors of the curvatures')
    parser.add_argument('--max-features', type=int, default=500, help='features of a class at most')
    parser.add_argument('--no-normalize', action='store_true', help='keep the scale of the features')
    parser.add_argument('--out', type=Path, default=Path('manifolds.png'), help='image file (.png, .pdf, .svg)')
    parser.add_argument('--csv', type=Path, help='CSV file with one row per class')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    dataset = FeatureDataset(args.features, args.split)
    train = dataset if args.split == 'train' else FeatureDataset(dataset.data_root, 'train', in_memory=False)
    distribution = train.get_label_table().class_distribution()
    distribution.check_classes(dataset.metainfo['classes'], args.split)
    features, label = dataset.__getitems__(range(len(dataset)))['inputs'].numpy(), dataset.get_gt_labels()
    rows = manifold_rows(features, label, distribution, args.k, args.max_features, not args.no_normalize)
    print(manifold_summary(rows))
    if args.csv:
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        args.csv.write_text(manifold_csv(rows), encoding='utf-8')
        print(f'Wrote {args.csv}')
    print(f'Wrote {plot_manifolds(rows, args.out, title=f"{Path(args.features).name}, {args.split}")}')


if __name__ == '__main__':
    with one_line_errors():
        main()
