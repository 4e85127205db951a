"""Conversion of annotations between the formats of COCO, VOC, YOLO, folders and CSV files.

The libraries that do this know boxes only (globox), pin versions of numpy and opencv (datumaro, pylabel), or bring
video codecs (supervision); none knows unknown labels, and all leave out what does not fit without a word.
"""

from collections.abc import Sequence
from pathlib import Path

from .coco import read_coco, write_coco
from .labels import read_csv_file, read_folders, write_csv_file, write_folders
from .records import Annotations, ImageRecord, ObjectRecord
from .voc import read_voc, write_voc
from .yolo import read_yolo, write_yolo

__all__ = ['READERS', 'WRITERS', 'Annotations', 'ImageRecord', 'ObjectRecord', 'read_annotations', 'write_annotations']

READERS = dict(coco=read_coco, voc=read_voc, yolo=read_yolo, folders=read_folders, csv=read_csv_file)
WRITERS = dict(coco=write_coco, voc=write_voc, yolo=write_yolo, folders=write_folders, csv=write_csv_file)


def read_annotations(
    source: str | Path,
    format: str,
    images: str | Path | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
) -> Annotations:
    """Read annotations.

    Args:
        source: A json or CSV file, or a folder.
        format: ``'coco'``, ``'voc'``, ``'yolo'``, ``'folders'`` or ``'csv'``.
        images: Folder of the images. Default: where the format has them, or beside the file.
        split: Part to read: folder ``train`` of YOLO and folders, list ``ImageSets/Main/train.txt`` of VOC, rows of a
            CSV file with ``train`` in the column ``split``.
        classes: Names of the classes to keep, in label order. Default: all.
    """
    return READERS[format](Path(source), None if images is None else Path(images), split, classes)


def write_annotations(annotations: Annotations, format: str, out: str | Path, copy: bool = False) -> list[str]:
    """Write annotations to a new file or folder; return a line on each thing that the format cannot hold.

    Args:
        annotations: The annotations.
        format: See :func:`read_annotations`.
        out: A ``.json`` or ``.csv`` file, or a folder.
        copy: Copy the images into the folder in place of symbolic links.
    """
    return WRITERS[format](annotations, Path(out), copy)
