"""CIFAR-100 mosaics: a long-tailed multi-label benchmark of real pixels whose labels are known to be true."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ltmm.datasets.labels.detection_labels import check_option
from ltmm.datasets.labels.label_states import POSITIVE
from ltmm.registry import DATASETS

from .files import find_folder
from .multi_label import MultiLabelDataset

__all__ = ['CIFAR100Mosaics', 'assemble', 'mosaic_states']

FOLDER = 'cifar100_mosaics'
SPLITS = ('test', 'train', 'val')


def assemble(tiles: np.ndarray) -> np.ndarray:
    """One image of four, left to right and top to bottom: (..., 4, H, W, 3) -> (..., 2H, 2W, 3)."""
    *lead, _, height, width, channels = tiles.shape
    grid = tiles.reshape(*lead, 2, 2, height, width, channels)
    return np.moveaxis(grid, -3, -4).reshape(*lead, 2 * height, 2 * width, channels)


def mosaic_states(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """States of the labels of mosaics, int8, (N, C).

    Args:
        labels: classes of the four tiles, (N, 4).
        num_classes: C.
    """
    states = np.zeros((len(labels), num_classes), dtype=np.int8)
    np.put_along_axis(states, labels, POSITIVE, axis=1)
    return states


@DATASETS.register_module()
class CIFAR100Mosaics(MultiLabelDataset):
    """Mosaics of four CIFAR-100 images, 64x64, with one to four labels; long-tailed to train on, balanced to test on.

    They are made by ``tools/dataset_tools/cifar100_mosaics.py``. A file holds the tiles once each and which four make
    a mosaic; its labels are the classes of its tiles, so that no label is missing and none is wrong.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        data_root: the folder of the files; searched for when left out.
        kwargs: what mmpretrain's ``BaseDataset`` takes: ``pipeline``, ``indices``, ...

    Raises:
        FileNotFoundError: the file is not there; says how it is made.
        OSError: the file is damaged.
    """

    def __init__(self, split: str = 'train', data_root: str = '', **kwargs) -> None:
        check_option('split', split, SPLITS)
        super().__init__(f'{split}.npz', check_files=False, data_root=data_root or str(find_folder([FOLDER])), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One record a mosaic: ``img`` (64, 64, 3) uint8 RGB, ``gt_score``."""
        tiles, mosaics, labels, classes = self._read()
        self._metainfo['classes'] = classes
        states = mosaic_states(labels[mosaics], len(classes))
        return [dict(img=assemble(tiles[rows]), gt_score=row) for rows, row in zip(mosaics, states)]

    def _read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(
                f'CIFAR100Mosaics: {path.absolute()} is not there. Make it of CIFAR-100, in seconds, with\n'
                '    python tools/dataset_tools/cifar100_mosaics.py'
            )
        try:
            with np.load(path, allow_pickle=False) as file:
                return file['tiles'], file['mosaics'], file['labels'], tuple(file['classes'].tolist())
        except (ValueError, KeyError, EOFError, BadZipFile) as error:
            raise OSError(f'{path.absolute()} is damaged ({error}). Delete it and make it again.') from None
