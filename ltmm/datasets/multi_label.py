"""Base of the multi-label datasets: every label of an image is positive, negative or unknown."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.fileio import join_path
from mmpretrain.datasets import BaseDataset

from ltmm.datasets.labels.label_states import POSITIVE, states_of

from .list_file import missing_images

__all__ = ['ImageLabels', 'MultiLabelDataset']


class ImageLabels(NamedTuple):
    """What an annotation file says about its images.

    Args:
        names: path of each image under the folder of images, N.
        classes: names of the classes, C.
        states: 1 positive, 0 negative, -1 unknown, int8, (N, C).
    """

    names: list[str]
    classes: tuple[str, ...]
    states: np.ndarray

    def take(self, rows: Sequence[int]) -> 'ImageLabels':
        """Those of the images ``rows``, in that order."""
        return ImageLabels([self.names[row] for row in rows], self.classes, self.states[rows])


class MultiLabelDataset(BaseDataset):
    """Images whose labels are positive, negative or unknown; a subclass reads the annotations.

    A record holds ``img_path`` and ``gt_score``, (C,) float32: 1 positive, 0 negative, -1 unknown. It holds no
    ``gt_label``, a list of classes, which could not tell a negative from an unknown label.

    Args:
        ann_file: the annotations.
        check_files: look at load whether all images are there; not done for images that are not on a local disk.
        kwargs: what mmpretrain's ``BaseDataset`` takes: ``data_root``, ``data_prefix``, ``pipeline``, ...

    Raises:
        FileNotFoundError: images are missing; says how many, which first, and where they come from.
    """

    def __init__(self, ann_file: str, check_files: bool = True, **kwargs) -> None:
        self.check_files = check_files
        super().__init__(ann_file=ann_file, **kwargs)

    def read_labels(self) -> ImageLabels:
        """The labels of all images."""
        raise NotImplementedError

    def source_of_images(self) -> str:
        """Where the images come from, a sentence; for the message when some are missing."""
        return 'Say where they are by `data_root` and `data_prefix`.'

    def load_data_list(self) -> list[dict]:
        """One record an image: ``img_path``, ``gt_score``."""
        names, classes, states = self.read_labels()
        folder = self.img_prefix
        if self.check_files and '://' not in folder:
            self._check_images(Path(folder), names)
        self._metainfo['classes'] = classes
        return [dict(img_path=join_path(folder, name), gt_score=row) for name, row in zip(names, states)]

    def get_data_info(self, idx: int) -> dict:
        """Record of sample ``idx``; its ``gt_score`` is kept in one byte a class, and given in four."""
        record = super().get_data_info(idx)
        return dict(record, gt_score=record['gt_score'].astype(np.float32))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Positive classes of sample ``idx``."""
        record = self.get_data_info(idx)
        return np.flatnonzero(states_of(record, len(self.metainfo['classes'])) == POSITIVE).tolist()

    def _check_images(self, folder: Path, names: list[str]) -> None:
        missing = missing_images(folder, names)
        if missing:
            raise FileNotFoundError(
                f'{type(self).__name__}: {len(missing)} of the {len(names)} images are not in {folder.absolute()}: '
                f'{", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}\n'
                f'{self.source_of_images()}\nWith check_files=False the images are not looked for.'
            )
