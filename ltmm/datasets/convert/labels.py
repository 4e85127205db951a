"""Labels of images: a folder per class, or a CSV file."""

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from ltmm.datasets.labels.csv_labels import NO_LABEL, find_columns
from ltmm.datasets.labels.csv_table import read_csv
from ltmm.datasets.labels.label_states import NEGATIVE, POSITIVE, UNKNOWN
from ltmm.utils.checks import check
from ltmm.utils.console import quiet_imports
from ltmm.utils.environment import needs_frameworks
from ltmm.utils.errors import InputError

from .files import new_file, new_folder, place_images
from .records import Annotations, ImageRecord, class_list, relative_name

__all__ = ['read_csv_file', 'read_folders', 'write_csv_file', 'write_folders']

CELLS = {POSITIVE: '1', NEGATIVE: '0', UNKNOWN: ''}


def read_folders(source: Path, images: Path | None, split: str | None, classes: Sequence[str] | None) -> Annotations:
    """Read a folder per class; ``split`` is a folder around them. See :class:`ltmm.CustomDataset`."""
    with quiet_imports(), needs_frameworks():
        from ltmm.datasets.custom import CustomDataset  # imports mmpretrain

    folder = source / split if split else source
    return _from_dataset(CustomDataset(data_prefix=str(folder), classes=classes), folder)


def read_csv_file(source: Path, images: Path | None, split: str | None, classes: Sequence[str] | None) -> Annotations:
    """Read a CSV file; ``split`` is a value of its column ``split``. See :class:`ltmm.CSVDataset`."""
    with quiet_imports(), needs_frameworks():
        from ltmm.datasets.csv_dataset import CSVDataset  # imports mmpretrain

    where = dict(split=split) if split else None

    def read(classes: Sequence[str] | None) -> Annotations:
        dataset = CSVDataset(str(source), data_root=str(images or ''), classes=classes, where=where)
        return _from_dataset(dataset, images or source.parent)

    if classes is None or find_columns(read_csv(source), classes=classes).per_class:
        return read(classes)
    annotations = read(None)
    if not set(classes) & set(annotations.classes):
        return read(classes)  # names of the numbers in the file
    return _select(annotations, class_list(annotations.classes, classes, source))


def write_csv_file(annotations: Annotations, out: Path, copy: bool) -> list[str]:
    """Write ``image,label``, or ``image`` and one column per class; images stay where they are. Return what is lost."""
    if 'image' in annotations.classes and annotations.kind != 'single':
        raise InputError("A class is called 'image', as the column of the images is. Rename it.")
    unreadable = [name for name in annotations.classes if name.lower() in NO_LABEL or '|' in name]
    if unreadable and annotations.kind == 'single':
        raise InputError(
            f'A class is called {unreadable[0]!r}, which a CSV file reads as no label, or as several. Rename it.'
        )
    states = annotations.states()
    with new_file(out, '.csv') as file:
        writer = csv.writer(file)
        if annotations.kind == 'single':
            writer.writerow(['image', 'label'])
            names = np.array(annotations.classes, dtype=object)[states.argmax(axis=1)]
            writer.writerows(zip([image.name for image in annotations.images], names))
        else:
            writer.writerow(['image', *annotations.classes])
            for image, row in zip(annotations.images, states.tolist()):
                writer.writerow([image.name, *(CELLS[state] for state in row)])
    objects = sum(len(image.objects) for image in annotations.images)
    unused = int((states.max(axis=0, initial=0) < POSITIVE).sum()) if annotations.kind == 'single' else 0
    return [f'The places of {objects} objects are lost: a CSV file has labels of images.'] * bool(objects) + [
        f'{unused} classes without images are lost: set `classes` where the file is read.'
    ] * bool(unused)


def write_folders(annotations: Annotations, out: Path, copy: bool) -> list[str]:
    """Write a folder per class with links to the images, or copies. Return what is lost."""
    states = annotations.states()
    several = np.flatnonzero((states == POSITIVE).sum(axis=1) != 1)
    if len(several):
        raise InputError(
            f'Folders hold one label per image, but {len(several)} of {len(states)} images have several or none, '
            f'{annotations.images[several[0]].name} first. Choose --to csv.'
        )
    for name in annotations.classes:
        check(**{'class name': (name, 'a file name')})
    annotations.check_images()
    with new_folder(out) as folder:
        pairs = []
        for image, label in zip(annotations.images, states.argmax(axis=1)):
            name = annotations.classes[label]
            pairs.append((annotations.folder / image.name, folder / name / image.name.removeprefix(f'{name}/')))
        for name in annotations.classes:
            (folder / name).mkdir()
        place_images(pairs, copy)
    objects = sum(len(image.objects) for image in annotations.images)
    return [f'The places of {objects} objects are lost: folders have labels of images.'] * bool(objects)


def _from_dataset(dataset: BaseDataset, folder: Path) -> Annotations:
    """Read the records of a dataset; image names become relative to the folder."""
    classes, images = tuple(dataset.metainfo['classes']), []
    kind = 'multi' if len(dataset) and 'gt_score' in dataset.get_data_info(0) else 'single'
    for i in range(len(dataset)):
        record = dataset.get_data_info(i)
        name = relative_name(Path(os.path.relpath(record['img_path'], folder)).as_posix(), folder)
        if kind == 'multi':
            states = record['gt_score'].astype(np.int8)
        else:
            states = np.zeros(len(classes), dtype=np.int8)
            states[record['gt_label']] = POSITIVE
        images.append(ImageRecord(name, states=states))
    return Annotations(classes, images, folder, kind)


def _select(annotations: Annotations, classes: Sequence[str]) -> Annotations:
    """Keep these classes, and of data with one label per image the images of them."""
    index = [annotations.classes.index(name) for name in classes]
    images = [replace(image, states=image.states[index]) for image in annotations.images]
    if annotations.kind == 'single':
        images = [image for image in images if image.states.any()]
    return replace(annotations, classes=tuple(classes), images=images)
