"""STL-10: few labeled images and 100,000 unlabeled ones, read from the published binary files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmpretrain.datasets import BaseDataset

from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .files import DATA_ROOT_VARIABLE, find_folder

__all__ = ['STL10']

SIZE = 96  # height and width in pixels
IMAGE_BYTES = 3 * SIZE**2
URL = 'http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz'


class BinaryFiles(NamedTuple):
    """Names of the files of a split, and the published number of images."""

    images: str
    labels: str | None
    num_images: int


@DATASETS.register_module()
class STL10(BaseDataset):
    """STL-10: ten classes of 500 labeled images each, and 100,000 unlabeled images of an unknown class distribution.

    ``ltmm.LongTailed`` around ``split='train'`` makes the labeled part of STL10-LT. The unlabeled images are drawn from
    more classes than the ten and have no label, so that nothing can count or balance their classes: records of
    ``'unlabeled'`` have no ``gt_label``. Images are read one by one from the file, which has 2.8 GB; they are 96 x 96,
    and papers on STL10-LT resize them to 32 x 32 in the pipeline.

    References:
        [0] Coates et al., An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011.

    Args:
        split: ``'train'`` (5,000 images), ``'test'`` (8,000) or ``'unlabeled'`` (100,000).
        data_root: Folder of the ``.bin`` files. Default: ``stl10_binary/`` or ``stl10/`` under ``$LTMM_DATA_ROOT`` or
            ``data/``.
        kwargs: Arguments of mmpretrain's ``BaseDataset``: ``pipeline``, ``indices``, ...
    """

    METAINFO = {
        'classes': ('airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey', 'ship', 'truck'),
    }
    splits = {
        'train': BinaryFiles('train_X.bin', 'train_y.bin', 5_000),
        'test': BinaryFiles('test_X.bin', 'test_y.bin', 8_000),
        'unlabeled': BinaryFiles('unlabeled_X.bin', None, 100_000),
    }
    folders = ('stl10_binary', 'stl10', 'stl10/stl10_binary', 'STL10')

    def __init__(self, split: str = 'train', data_root: str = '', **kwargs) -> None:
        check(split=(split, self.splits))
        self.split, self.files = split, self.splits[split]
        if not data_root:
            data_root = str(find_folder(self.folders, lambda folder: (folder / self.files.images).is_file()))
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: its ``row`` in the file and, unless the split is unlabeled, ``gt_label``."""
        self._check_file(self.files.images, IMAGE_BYTES)
        records = [dict(row=row) for row in range(self.files.num_images)]
        if self.files.labels:
            path = self._check_file(self.files.labels, 1)
            labels = np.fromfile(path, np.uint8).astype(int) - 1  # 1 to 10 in the file
            if not 0 <= labels.min() <= labels.max() < len(self.METAINFO['classes']):
                raise InputError(f'{path}: expected labels 1 to 10, but got {labels.min() + 1} to {labels.max() + 1}.')
            records = [dict(record, gt_label=label) for record, label in zip(records, labels.tolist())]
        return records

    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx`` with its image ``img``, (96, 96, 3) uint8 RGB."""
        record = super().get_data_info(idx)
        path = Path(self.data_root, self.files.images)
        image = np.fromfile(path, np.uint8, count=IMAGE_BYTES, offset=record.pop('row') * IMAGE_BYTES)
        image = image.reshape(3, SIZE, SIZE).transpose(2, 1, 0)  # from channel, column, row
        return dict(record, img=np.ascontiguousarray(image))

    def _check_file(self, name: str, item_bytes: int) -> Path:
        """Return the path of a file, after a check of its size."""
        path, expected = Path(self.data_root, name).absolute(), self.files.num_images * item_bytes
        if not path.is_file():
            raise FileNotFoundError(
                f'STL-10: {path} does not exist. Download {URL} (2.6 GB), extract {name} from it and put it into '
                f'{self.folders[0]}/ under ${DATA_ROOT_VARIABLE} or data/.'
            )
        if path.stat().st_size != expected:
            raise InputError(
                f'{path} is truncated or not the {self.split} split of STL-10: expected {expected:,} bytes, but got '
                f'{path.stat().st_size:,}. Extract it again from {URL}.'
            )
        return path
