"""Write an annotation file with the class counts of LVIS v1: python tools/dataset_tools/generate_lvis.py lvis.json

99,388 images, 1,270,141 polygons, 1,203 classes in a file of about 1 GB, to measure loading and sampling on. The number
of images and objects of each class is exactly that of LVIS v1's training set (lvis_v1_counts.csv, facts from its
categories, CC BY 4.0); where objects are and which classes meet is random. There are no photos.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from ltmm.datasets.lvis_generation import write_lvis_file
from ltmm.utils.cli import one_line_errors
from ltmm.utils.errors import InputError

NUM_IMAGES = 99_388
COUNTS = Path(__file__).with_name('lvis_v1_counts.csv')


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='json file to write')
    parser.add_argument('--fraction', type=float, default=1.0, help='share of images and objects (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='(%(default)s)')
    args = parser.parse_args()
    if not 0.01 <= args.fraction <= 1:
        raise InputError(f'Expected --fraction from 0.01 to 1, but got {args.fraction}.')
    if args.seed < 0:
        raise InputError(f'Expected --seed from 0, but got {args.seed}.')
    with open(COUNTS, newline='') as file:
        rows = list(csv.DictReader(file))
    images, instances = (np.array([int(row[key]) for row in rows]) for key in ('image_count', 'instance_count'))
    images = np.maximum(1, np.rint(args.fraction * images)).astype(int)
    instances = np.maximum(images, np.rint(args.fraction * instances)).astype(int)
    num_images = round(args.fraction * NUM_IMAGES)
    names = [row['name'] for row in rows]
    frequency = [row['frequency'] for row in rows]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_lvis_file(args.out, names, images, instances, num_images, frequency, args.seed)
    print(f'Wrote {args.out}: {num_images} images, {instances.sum()} objects, {len(names)} classes.')


if __name__ == '__main__':
    with one_line_errors():
        main()
