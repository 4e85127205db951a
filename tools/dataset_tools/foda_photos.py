"""Cut 900 photos of 12 classes out of FOD-A-LT: ``python tools/dataset_tools/foda_photos.py data/foda_lt data/photos``.

Writes a folder per class: ``all`` has 290 to 3 photos of the 12 most frequent classes, drawn by seed 0 from its
training set, ``test`` the 20 photos per class of its validation set. Photos of several classes are left out. The boxes
are in ``all.json`` and ``test.json``, in the format of COCO.
"""

import argparse
import json
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


def write_boxes(foda: Path, split: str, chosen: dict[str, list[str]], out: Path) -> None:
    """Write the annotations of the chosen photos of each class; their files are in a folder per class."""
    content = read_json(foda / f'annotations/lvis_v1_{split}.json')
    folders = {Path(file).name: name for name, files in chosen.items() for file in files}
    images = [image for image in content['images'] if image['file_name'] in folders]
    ids = {image['id'] for image in images}
    written = dict(
        images=[
            dict(
                id=image['id'],
                file_name=f'{folders[image["file_name"]]}/{image["file_name"]}',
                height=image['height'],
                width=image['width'],
            )
            for image in images
        ],
        annotations=[box for box in content['annotations'] if box['image_id'] in ids],
        categories=[dict(id=item['id'], name=item['name']) for item in content['categories'] if item['name'] in chosen],
    )
    out.write_text(json.dumps(written))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('foda', type=Path, help='folder of FOD-A-LT')
    parser.add_argument('out', type=Path, help='folder to write')
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    train, test = photos_by_class(args.foda, 'train'), photos_by_class(args.foda, 'val')
    names = sorted(train, key=lambda name: -len(train[name]))[: len(COUNTS)]
    drawn = {name: rng.choice(sorted(train[name]), count, replace=False) for name, count in zip(names, COUNTS)}
    for part, split, chosen in (('all', 'train', drawn), ('test', 'val', {name: test[name][:20] for name in names})):
        for name, files in chosen.items():
            folder = args.out / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(args.foda / file, folder)
        write_boxes(args.foda, split, chosen, args.out / f'{part}.json')


if __name__ == '__main__':
    with one_line_errors():
        main()
