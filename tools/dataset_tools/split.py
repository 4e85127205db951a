"""Split data into parts that all hold every class: python tools/dataset_tools/split.py my.csv --from csv --out my_split

A size below 1 is the share of the images of each class, a whole number their number. A class with fewer images than
there are parts is in the training part first.
"""

import argparse
from pathlib import Path

import numpy as np

from ltmm.datasets.convert import READERS
from ltmm.datasets.convert.split import split_annotations
from ltmm.utils.cli import one_line_errors


def size(text: str) -> float:
    """Read a share or a number of images."""
    return int(text) if text.isdecimal() else float(text)


def main() -> None:
    """Write the parts and print how many images of each class they have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='json or CSV file, or folder')
    parser.add_argument('--from', dest='format', required=True, choices=READERS, help='format of the source')
    parser.add_argument('--out', required=True, type=Path, help='new folder')
    parser.add_argument('--val', type=size, default=0.15, help='size of the validation part (%(default)s)')
    parser.add_argument('--test', type=size, default=0.15, help='size of the test part; 0 for none (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the split (%(default)s)')
    parser.add_argument('--classes', nargs='+', help='classes to split by: columns of a CSV file that has others too')
    parser.add_argument('--copy', action='store_true', help='copy the images in place of symbolic links')
    args = parser.parse_args()
    sizes = dict(val=args.val, test=args.test) if args.test else dict(val=args.val)
    tables = split_annotations(args.source, args.format, args.out, sizes, args.seed, args.copy, args.classes)
    counts = {name: np.bincount(table.unique_pairs()[1], minlength=table.num_classes) for name, table in tables.items()}
    print(f'Wrote {args.out}: ' + ', '.join(f'{len(table)} {name}' for name, table in tables.items()) + ' images.')
    names = next(iter(tables.values())).class_names
    order = np.argsort(-sum(counts.values()), kind='stable')
    shown = order if len(order) <= 20 else [*order[:10], *order[-10:]]
    width = max(len(names[c]) for c in shown)
    print(f'{"images of":{width}}' + ''.join(f'{name:>7}' for name in tables))
    for c in shown:
        print(f'{names[c]:{width}}' + ''.join(f'{count[c]:7}' for count in counts.values()))


if __name__ == '__main__':
    with one_line_errors():
        main()
