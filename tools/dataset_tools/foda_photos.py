"""Cut 900 photos of 12 classes out of FOD-A-LT: ``python tools/dataset_tools/foda_photos.py data/foda_lt data/photos``.

Writes a folder per class: ``all`` has 290 to 3 photos of the 12 most frequent classes, drawn by seed 0 from its
training set, ``test`` the 20 photos per class of its validation set. Photos of several classes are left out.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from ltmm.utils.cli import one_line_errors
from ltmm.utils.data_files import read_json

COUNTS = (290, 190, 130, 90, 65, 45, 32, 22, 15, 11, 7, 3)


def photos_by_class(foda: Path, split: str) -> dict[str, list[str]]:
    """Return the file names of the photos that show one class only."""
    content = read_json(foda / f'annotations/lvis_v1_{split}.json')
    classes: dict[int, set[int]] = {image['id']: set() for image in content['images']}
    for box in content['annotations']:
        classes[box['image_id']].add(box['category_id'])
    photos: dict[str, list[str]] = {category['name']: [] for category in content['categories']}
    names = {category['id']: category['name'] for category in content['categories']}
    for image in content['images']:
        if len(classes[image['id']]) == 1:
            photos[names[min(classes[image['id']])]].append(f'{split}/{image["file_name"]}')
    return photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('foda', type=Path, help='folder of FOD-A-LT')
    parser.add_argument('out', type=Path, help='folder to write')
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    train, test = photos_by_class(args.foda, 'train'), photos_by_class(args.foda, 'val')
    for name, count in zip(sorted(train, key=lambda name: -len(train[name])), COUNTS):
        chosen = {'all': rng.choice(sorted(train[name]), count, replace=False), 'test': test[name][:20]}
        for part, files in chosen.items():
            folder = args.out / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(args.foda / file, folder)


if __name__ == '__main__':
    with one_line_errors():
        main()
