"""Split of annotation files into training, validation and test files."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from ltmm.datasets.labels.csv_labels import find_columns, read_csv_labels
from ltmm.datasets.labels.csv_table import read_csv
from ltmm.datasets.labels.label_states import POSITIVE
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.stratified_split import check_part_size, stratified_split, warn_of_missing_classes
from ltmm.utils.data_files import read_json

from . import read_annotations
from .files import new_folder, place_images
from .records import Annotations

__all__ = ['split_annotations']


def split_annotations(
    source: str | Path,
    format: str,
    out: str | Path,
    sizes: dict[str, float],
    seed: int = 0,
    copy: bool = False,
    classes: Sequence[str] | None = None,
) -> dict[str, LabelTable]:
    """Split a dataset into parts that all hold every class, and write them to a new folder.

    The parts do not depend on the order of the images in the source. Written are, for each part, ``train.json`` (coco)
    or ``train.csv`` (csv) with everything that the source says of its images; ``train/<class>/`` (folders) with links
    to the images or copies; a list for ``ImageSets/Main`` (voc); a list of images, with a data.yaml (yolo).

    Args:
        source: A json or CSV file, or a folder.
        format: See :func:`ltmm.datasets.convert.read_annotations`.
        out: New folder.
        sizes: Name and size of each held-out part: images per class, or, below 1, the share of the images.
        seed: Seed of the split.
        copy: Copy images in place of symbolic links.
        classes: Names of the classes to split by; the columns of these names of a CSV file. Default: all.

    Returns:
        The labels of each part, ``train`` first.
    """
    check_part_size(**sizes)
    source, out = Path(source), Path(out)
    if format == 'csv':
        labels = read_csv_labels(read_csv(source), classes=classes)
        names, classes, states = labels.names, labels.classes, labels.labels
        if states.ndim == 1:
            states = np.eye(len(classes), dtype=np.int8)[states]
    else:
        annotations = read_annotations(source, format, classes=classes)
        names, classes, states = [im.name for im in annotations.images], annotations.classes, annotations.states()
    order = sorted(range(len(names)), key=names.__getitem__)
    table = LabelTable.from_lists([np.flatnonzero(row == POSITIVE).tolist() for row in states[order]], len(classes),
                                  classes)  # fmt: skip
    parts = stratified_split(table, list(sizes.values()), seed)
    warn_of_missing_classes(table, parts, ['train', *sizes])
    rows = {name: [order[i] for i in part] for name, part in zip(['train', *sizes], parts)}
    with new_folder(out) as folder:
        if format == 'csv':
            _write_csv(source, names, rows, folder)
        elif format == 'coco':
            _write_coco(source, rows, folder)
        elif format == 'folders':
            _write_folders(annotations, rows, folder, copy)
        else:
            _write_lists(annotations, rows, folder, is_yolo=format == 'yolo')
    return {name: table.take(part) for name, part in zip(rows, parts)}


def _write_csv(source: Path, names: Sequence[str], rows: dict[str, list[int]], folder: Path) -> None:
    table = read_csv(source)
    image = find_columns(table).image
    has_header = table.columns != [str(i + 1) for i in range(len(table.columns))]
    for name, part in rows.items():
        kept = {names[i] for i in part}
        with open(folder / f'{name}.csv', 'w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows([table.columns] * has_header + [row for row in table.rows if row[image] in kept])


def _write_coco(source: Path, rows: dict[str, list[int]], folder: Path) -> None:
    content = read_json(source)
    for name, part in rows.items():
        images = [content['images'][i] for i in sorted(part)]
        ids = {image['id'] for image in images}
        annotations = [annotation for annotation in content['annotations'] if annotation['image_id'] in ids]
        text = json.dumps(dict(content, images=images, annotations=annotations), ensure_ascii=False)
        (folder / f'{name}.json').write_text(text, encoding='utf-8')


def _write_folders(annotations: Annotations, rows: dict[str, list[int]], folder: Path, copy: bool) -> None:
    for name, part in rows.items():
        for label in annotations.classes:
            (folder / name / label).mkdir(parents=True)
        images = [annotations.images[i].name for i in part]
        place_images(((annotations.folder / image, folder / name / image) for image in images), copy)


def _write_lists(annotations: Annotations, rows: dict[str, list[int]], folder: Path, is_yolo: bool) -> None:
    for name, part in rows.items():
        images = [annotations.images[i].name for i in part]
        lines = [str((annotations.folder / image).absolute()) if is_yolo else _stem(image) for image in images]
        (folder / f'{name}.txt').write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    if is_yolo:
        content = {name: f'{name}.txt' for name in rows} | dict(names=dict(enumerate(annotations.classes)))
        text = yaml.safe_dump(dict(path='.', **content), allow_unicode=True, sort_keys=False)
        (folder / 'data.yaml').write_text(text, encoding='utf-8')


def _stem(name: str) -> str:
    return str(Path(name).with_suffix(''))
