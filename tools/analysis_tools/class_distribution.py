"""Count the classes in the training set of a config."""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from ltmm.datasets import class_distribution_of
from ltmm.utils.checkpoints import forbid_code
from ltmm.utils.cli import one_line_errors
from ltmm.utils.environment import check_environment
from ltmm.utils.errors import InputError
from ltmm.utils.references import count_classes, resolve_references
from ltmm.utils.shots import group_classes
from ltmm.visualization import plot_class_distribution


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a classifier or a detector')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, key=value')
    parser.add_argument('--out', type=Path, help='image file (.png, .pdf, .svg)')
    parser.add_argument('--csv', type=Path, help='CSV file with one row per class')
    parser.add_argument('--json', type=Path, help='file for `class_counts` in a config')
    parser.add_argument('--co-occurrence', action='store_true', help='count it too, for ltmm.MultiFocalModifierLoss')
    parser.add_argument(
        '--thresholds', nargs='+', type=limit, help='limits of many- and few-shot classes, such as 50 10, or auto'
    )
    parser.add_argument('--max-rows', type=int, default=20, help='rows of the printed table')
    parser.add_argument('--trust', action='store_true', help='run the code in .pkl and .yaml files, see SECURITY.md')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options, args.trust)
    distribution = class_distribution_of(cfg.train_dataloader.dataset, args.co_occurrence)
    groups = 'multi_label' if 'MultiLabelMetric' in str(cfg.get('test_evaluator')) else 'shots'
    groups = 'lvis' if cfg.get('default_scope') == 'mmdet' else groups
    if args.thresholds:
        thresholds = 'auto' if args.thresholds == ['auto'] else args.thresholds
        groups = group_classes(distribution.image_counts, thresholds)
    print(distribution.table(args.max_rows, groups))
    if args.out:
        path = plot_class_distribution(distribution, args.out, title=Path(args.config).stem, groups=groups)
        print(f'Wrote {path}')
    if args.csv:
        with open(args.csv, 'w', newline='', encoding='utf-8') as file:
            rows = distribution.rows(groups)
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        print(f'Wrote {args.csv}')
    if args.json:
        args.json.write_text(json.dumps(distribution.to_dict()))
        print(f'Wrote {args.json}')


def limit(text: str) -> int | str:
    """Read a number of images, or auto."""
    return text if text == 'auto' else int(text)


def read_config(config: str, cfg_options: dict | None, trust: bool) -> Config:
    """Read a config file with a training set, and set its scope."""
    forbid_code(trust)
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(cfg_options or {})
    check_environment(detection=cfg.get('default_scope') == 'mmdet')
    if not cfg.get('train_dataloader'):
        raise InputError(f'Expected {config} to have a train_dataloader, but it has none.')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    count_classes(cfg)
    resolve_references(cfg)
    return cfg


if __name__ == '__main__':
    with one_line_errors():
        main()
