"""OpenImages Challenge 2019, for detectors."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, AnyStr

import numpy as np
from mmdet.datasets import OpenImagesChallengeDataset as MMDetOpenImagesChallengeDataset
from mmengine.fileio import get_local_path, join_path, load

from ltmm.registry import DATASETS
from ltmm.utils.checkpoints import read_pickle
from ltmm.utils.errors import InputError

from .labels.label_table import LabelTable

__all__ = ['OpenImagesChallengeDataset']

LINES_AT_ONCE = 2**18
COLUMNS = 6  # of a line: label from 1, x1, y1, x2, y2 as shares of width and height, whether it is a group


@DATASETS.register_module()
class OpenImagesChallengeDataset(MMDetOpenImagesChallengeDataset):
    """mmdet's OpenImagesChallengeDataset with its boxes in arrays, which the workers of a loader share.

    The 12 million boxes of the challenge take half a gigabyte. Boxes of groups are flagged as ``is_group_of``, the key
    that the metric reads. The class tree is read as an array, so that code in its file is not run.

    Args:
        **kwargs: See :class:`mmdet.datasets.OpenImagesChallengeDataset`; without ``proposal_file``.
    """

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get('proposal_file') is not None:
            raise InputError('OpenImagesChallengeDataset does not support `proposal_file`.')
        super().__init__(**kwargs)

    def load_data_list(self) -> np.ndarray:
        """Read the files, and return the rows of the images, (N,)."""
        self._metainfo['classes'], self.label_id_mapping = self._parse_label_file(self.label_file)
        self._metainfo['RELATION_MATRIX'] = self._get_relation_matrix(self.hierarchy_file)
        names, self._sizes = _names_and_sizes(load(self.meta_file, file_format='pkl', backend_args=self.backend_args))
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            self._boxes = _read_boxes(path, len(self._metainfo['classes']))
        self._check_names(names)
        self._image_labels = self._read_image_labels(names) if self.image_level_ann_file is not None else None
        self.serialize_data = False  # the rows are an array already
        return np.arange(len(self._sizes))

    def get_data_info(self, idx: int) -> dict:
        """Build the record of one image, as mmdet's dataset has it."""
        self.full_init()
        row = int(self.data_list[idx])
        name, (height, width) = self._boxes.names[row].decode(), self._sizes[row].tolist()
        part = slice(*self._boxes.offsets[row : row + 2])
        boxes = (self._boxes.shares[part] * np.array([width, height, width, height])).tolist()
        columns = zip(boxes, self._boxes.labels[part].tolist(), self._boxes.is_group[part].tolist())
        info = dict(
            img_path=join_path(self.data_prefix['img'], name),
            img_id=_stem(name),
            height=height,
            width=width,
            instances=[dict(bbox=b, bbox_label=c, ignore_flag=0, is_group_of=is_group) for b, c, is_group in columns],
            sample_idx=idx if idx >= 0 else len(self) + idx,
        )
        if self._image_labels is not None:
            offsets, labels, confidences = self._image_labels
            part = slice(*offsets[row : row + 2])
            info |= dict(image_level_labels=labels[part].copy(), confidences=confidences[part].copy())
        return info

    def get_label_table(self) -> LabelTable:
        """Return the labels of all boxes, image by image."""
        self.full_init()
        names = tuple(self.metainfo['classes'])
        labels = self._boxes.labels.astype(np.int64)
        table = LabelTable(labels, self._boxes.offsets, len(names), names, is_multi_label=False)
        return table if np.array_equal(self.data_list, np.arange(len(self._sizes))) else table.take(self.data_list)

    def _read_image_labels(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return offsets (N + 1,), labels and confidences of the human-verified labels of each image."""
        by_name = self._parse_img_level_ann(self.image_level_ann_file)
        found = [by_name.get(name.decode(), []) for name in names.tolist()]
        offsets = np.append(0, np.cumsum([len(each) for each in found]))
        labels = np.array([int(each['image_level_label']) for image in found for each in image], dtype=np.int64)
        confidences = np.array([float(each['confidence']) for image in found for each in image], dtype=np.float32)
        return offsets, labels, confidences

    def _check_names(self, names: np.ndarray) -> None:
        """Raise unless the file of sizes has these images in the order of the annotation file."""
        expected = np.array([_stem(name) for name in self._boxes.names.tolist()])
        if not np.array_equal(names, expected):
            num = min(len(names), len(expected))
            first = np.append(names[:num] != expected[:num], True).argmax()
            raise InputError(
                f'Expected the sizes of the {len(expected)} images of {self.ann_file} in {self.meta_file}, in the same '
                f'order, but got {len(names)}; image {first} is the first that differs.'
            )

    def _get_relation_matrix(self, hierarchy_file: str) -> np.ndarray:
        with get_local_path(hierarchy_file, backend_args=self.backend_args) as path, open(path, 'rb') as file:
            try:
                tree = np.load(file, allow_pickle=False)
            except (EOFError, ValueError):  # no .npy
                file.seek(0)
                tree = read_pickle(file)
        size = 1 + len(self._metainfo['classes'])
        if not isinstance(tree, np.ndarray) or tree.shape != (size, size) or tree.dtype.kind not in 'biuf':
            got = getattr(tree, 'shape', type(tree).__name__)
            raise InputError(f'Expected a class tree of shape {(size, size)} in {hierarchy_file}, but got {got}.')
        return tree[1:, 1:]


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes of N images in the order of their file; those of image i are ``offsets[i]:offsets[i + 1]``.

    Args:
        names: File name of each image, bytes, (N,).
        offsets: (N + 1,).
        labels: (M,).
        shares: x1, y1, x2, y2 as shares of width and height, (M, 4).
        is_group: Whether a box holds a group of objects, (M,).
    """

    names: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    shares: np.ndarray
    is_group: np.ndarray

    def __deepcopy__(self, memo: dict) -> '_Boxes':
        return self  # read-only; MMEngine copies a dataset to take a part of it


def _read_boxes(path: str, num_classes: int) -> _Boxes:
    """Read the text file of the challenge: per image its name, an unused line, the number of boxes, and the boxes."""
    names, counts, lines, parts = [], [], [], []
    with open(path, encoding='utf-8') as file:
        while name := file.readline().strip():
            file.readline()
            number = file.readline().strip()
            if not number.isdecimal():
                raise InputError(f'Expected the number of boxes of {name} in {path}, but got {number!r}.')
            before = len(lines)
            lines += islice(file, int(number))
            if len(lines) < before + int(number):
                raise InputError(f'Expected {number} boxes of {name} in {path}, but the file ends: it is cut off.')
            names.append(name.encode())
            counts.append(int(number))
            if len(lines) >= LINES_AT_ONCE:
                parts.append(_parse(lines, path, num_classes))
                lines = []
    if not names:
        raise InputError(f'Expected images in {path}, but it has none.')
    parts.append(_parse(lines, path, num_classes))
    offsets = np.append(0, np.cumsum(counts))
    return _Boxes(np.array(names), offsets, *(np.concatenate(columns) for columns in zip(*parts)))


def _parse(lines: list[str], path: str, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, shares and group flags of some lines."""
    try:
        values = np.loadtxt(lines, usecols=range(COLUMNS), ndmin=2) if lines else np.empty((0, COLUMNS))
    except ValueError as e:
        raise InputError(f'Expected boxes as label, x1, y1, x2, y2, group in {path}, but got others ({e}).') from None
    labels = values[:, 0].astype(np.int32) - 1
    if ((labels < 0) | (labels >= num_classes)).any():
        raise InputError(
            f'Expected labels from 1 to {num_classes}, as in the label file, in {path}, but got {labels.min() + 1} to '
            f'{labels.max() + 1}.'
        )
    return labels, values[:, 1:5].copy(), values[:, 5] == 1


def _names_and_sizes(metas: Iterable[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Return the name of each image without folder and suffix, bytes, (N,), and height and width, (N, 2)."""
    names = np.array([_stem(meta['filename']).encode() for meta in metas])
    return names, np.array([meta['ori_shape'][:2] for meta in metas], dtype=np.int32)


def _stem(name: AnyStr) -> AnyStr:
    return os.path.splitext(os.path.basename(name))[0]
