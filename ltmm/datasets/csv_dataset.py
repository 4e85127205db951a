"""Images of one's own, listed with their labels in a CSV file."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.fileio import join_path
from mmpretrain.datasets import BaseDataset

from ltmm.datasets.labels.csv_labels import CSVLabels, read_csv_labels
from ltmm.datasets.labels.csv_table import read_csv
from ltmm.datasets.labels.label_states import POSITIVE, STATES
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .files import check_images

__all__ = ['CSVDataset']

CSV_IMAGE_SOURCE = (
    'Paths in a CSV file are relative to `data_prefix` in `data_root`, or to the folder of the file; `suffix` is '
    "appended to names such as '0042'."
)


@DATASETS.register_module()
class CSVDataset(BaseDataset):
    """Images and labels of a CSV file: one label per image, several in a cell, or one column per class.

    ======================  ===========================================================================================
    columns                 labels
    ======================  ===========================================================================================
    ``image,label``         single-label: a record holds ``gt_label``. Rows without label are left out with a warning.
    ``image,labels``        multi-label if a cell holds ``a|b``: a record holds ``gt_score``. A cell ``none`` says that
                            the image has no class; an image without label is unknown in all classes.
    ``image,c1,...,cC``     multi-label: 1 positive, 0 negative.
    ======================  ===========================================================================================

    Blank, -1 and U (any case) mean unknown, -1 in ``gt_score``, which the losses for partial labels support. Labels are
    names; where ``classes`` are given and no label is one of them, numbers from 0. Comma, semicolon and tab, quotes,
    a header or none, and the usual encodings are recognized.

    Training and test data need the same classes in the same order: read both from one file by ``where``, or set
    ``classes_from`` or ``metainfo`` of all of them.

    Args:
        ann_file: The CSV file, in ``data_root``.
        data_root: Root of the paths.
        data_prefix: Folder of the images, in ``data_root``. An image that is not there may be relative to the folder of
            the CSV file. Absolute paths stay.
        image_column: Name of the column of the image, its number from 1 as text without header. Default: the one called
            ``image``, ``path``, ``file_name`` or the like, else the first.
        label_column: Column of the label, or list of the columns of the classes. Default: the columns of ``classes``;
            or the only other column or the one called ``label``, ``class`` or the like; or all others.
        multi_label: Whether a label column holds lists. The labels of several rows of an image are united then.
            Default: if any cell holds ``separator``.
        separator: Text between the labels of a list.
        unlisted_as: ``'negative'`` or ``'unknown'``: state of the classes that a list does not name.
        no_class: Text of a label cell that says that the image has none of the classes.
        where: ``dict(column=value)`` or ``dict(column=[...])``, rows to keep, for example ``dict(split='train')``. The
            classes are those of all rows.
        classes_from: CSV file with all classes, in ``data_root``: that of the training set.
        suffix: Text to append to image names, for example ``'.jpg'``.
        delimiter: Character between the cells. Default: recognized.
        encoding: Encoding of the file. Default: recognized, with a warning if it is not UTF-8.
        header: Whether the first row names the columns. Default: unless it holds the file name of an image.
        check_files: Check that all images exist.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``: ``pipeline``, ``metainfo``, ``classes``, ...
            ``metainfo=dict(classes=[...])`` selects and orders the classes; ``classes`` may be the path of a text file
            with one class per line. Default: columns in their order; names sorted.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        data_prefix: str | dict = '',
        image_column: str | None = None,
        label_column: str | Sequence[str] | None = None,
        multi_label: bool | None = None,
        separator: str = '|',
        unlisted_as: str = 'negative',
        no_class: str = 'none',
        where: dict | None = None,
        classes_from: str | None = None,
        suffix: str = '',
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool | None = None,
        check_files: bool = True,
        **kwargs,
    ) -> None:
        check(unlisted_as=(unlisted_as, ('negative', 'unknown')))
        self.check_files, self.suffix, self.classes_from = check_files, suffix, classes_from
        self._format = dict(delimiter=delimiter, encoding=encoding, header=header)
        self._columns = dict(
            image_column=image_column,
            label_column=label_column,
            multi_label=multi_label,
            separator=separator,
            unlisted_as=STATES[unlisted_as],
            no_class=no_class,
        )
        self._where = where
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img_path``, and ``gt_label`` or ``gt_score``."""
        labels = self.read_labels()
        self._metainfo['classes'] = labels.classes
        names = [name + self.suffix for name in labels.names]
        folder = self._folder(names)
        names = [_portable(name, folder) for name in names]
        if self.check_files and '://' not in folder:
            check_images(Path(folder), names, CSV_IMAGE_SOURCE)
        key, values = ('gt_label', labels.labels.tolist()) if labels.labels.ndim == 1 else ('gt_score', labels.labels)
        return [{'img_path': join_path(folder, name), key: value} for name, value in zip(names, values)]

    def read_labels(self) -> CSVLabels:
        """Read the file; see :func:`ltmm.datasets.labels.csv_labels.read_csv_labels`."""
        classes, multi_label = self._metainfo.get('classes'), self._columns['multi_label']
        if self.classes_from is not None:
            if classes is not None:
                raise InputError('CSVDataset: set `classes_from` or the classes of `metainfo`, not both.')
            source = os.path.join(self.data_root, self.classes_from)
            shared = read_csv_labels(read_csv(source, **self._format), **self._columns)
            classes = shared.classes
            multi_label = shared.labels.ndim == 2 if multi_label is None else multi_label
        columns = dict(self._columns, multi_label=multi_label)
        return read_csv_labels(read_csv(self.ann_file, **self._format), classes=classes, where=self._where, **columns)

    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx``; ``gt_score`` is stored as int8 and returned as float32."""
        record = super().get_data_info(idx)
        if 'gt_score' in record:
            record['gt_score'] = record['gt_score'].astype(np.float32)
        return record

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the positive classes of sample ``idx``."""
        record = self.get_data_info(idx)
        if 'gt_score' in record:
            return np.flatnonzero(record['gt_score'] == POSITIVE).tolist()
        return [record['gt_label']]

    def _folder(self, names: list[str]) -> str:
        """Return the image folder; the folder of the CSV file if the first image is there only."""
        beside = os.path.dirname(self.ann_file)
        prefix = self.img_prefix or self.data_root
        if '://' in prefix:
            return prefix
        for folder in (prefix, beside):
            if folder and os.path.exists(os.path.join(folder, _portable(names[0], folder))):
                return folder
        return prefix or beside


def _portable(name: str, folder: str) -> str:
    r"""Return the name with slashes, where Windows wrote ``images\1.jpg``."""
    if '\\' in name and not os.path.exists(os.path.join(folder, name)):
        return name.replace('\\', '/')
    return name
