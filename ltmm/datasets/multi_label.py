"""Base class for multi-label datasets with positive, negative and unknown labels."""

from pathlib import Path

import numpy as np
from mmengine.fileio import join_path
from mmpretrain.datasets import BaseDataset

from ltmm.datasets.labels.label_states import POSITIVE, ImageLabels, states_of

from .files import IMAGE_SOURCE, check_images

__all__ = ['MultiLabelDataset']


class MultiLabelDataset(BaseDataset):
    """Base class for images with multi-label annotations.

    A record holds ``img_path`` and ``gt_score``, (C,) float32: 1 positive, 0 negative, -1 unknown. It has no
    ``gt_label``, a list of classes, which cannot tell negative from unknown labels.

    Args:
        ann_file: Annotation file.
        check_files: Check that all local images exist.
        kwargs: Arguments of mmpretrain's ``BaseDataset``: ``data_root``, ``data_prefix``, ``pipeline``, ...
    """

    def __init__(self, ann_file: str, check_files: bool = True, **kwargs) -> None:
        self.check_files = check_files
        super().__init__(ann_file=ann_file, **kwargs)

    def read_labels(self) -> ImageLabels:
        """Read the labels of all images."""
        raise NotImplementedError

    def image_source(self) -> str:
        """Return where to get the images, a sentence for error messages."""
        return IMAGE_SOURCE

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img_path``, ``gt_score``."""
        names, classes, states = self.read_labels()
        folder = self.img_prefix
        if self.check_files and '://' not in folder:
            check_images(Path(folder), names, self.image_source())
        self._metainfo['classes'] = classes
        return [dict(img_path=join_path(folder, name), gt_score=row) for name, row in zip(names, states)]

    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx``; ``gt_score`` is stored as int8 and returned as float32."""
        record = super().get_data_info(idx)
        return dict(record, gt_score=record['gt_score'].astype(np.float32))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the positive classes of sample ``idx``."""
        record = self.get_data_info(idx)
        return np.flatnonzero(states_of(record, len(self.metainfo['classes'])) == POSITIVE).tolist()
