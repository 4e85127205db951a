"""CIFAR-100 mosaics: a long-tailed multi-label benchmark without label noise."""

from pathlib import Path

import numpy as np

from ltmm.datasets.labels.label_states import POSITIVE
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_arrays
from ltmm.utils.errors import InputError

from .files import find_folder
from .multi_label import MultiLabelDataset

__all__ = ['CIFAR100Mosaics', 'assemble', 'mosaic_states']

FOLDER = 'cifar100_mosaics'


def assemble(tiles: np.ndarray) -> np.ndarray:
    """Join four tiles, left to right and top to bottom: (..., 4, H, W, 3) -> (..., 2H, 2W, 3)."""
    *lead, _, height, width, channels = tiles.shape
    grid = tiles.reshape(*lead, 2, 2, height, width, channels)
    return np.moveaxis(grid, -3, -4).reshape(*lead, 2 * height, 2 * width, channels)


def mosaic_states(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the label states (N, C) of mosaics with tiles of the given classes (N, 4)."""
    states = np.zeros((len(labels), num_classes), dtype=np.int8)
    np.put_along_axis(states, labels, POSITIVE, axis=1)
    return states


@DATASETS.register_module()
class CIFAR100Mosaics(MultiLabelDataset):
    """Mosaics of four CIFAR-100 images, 64x64, labeled by the classes of their tiles.

    The training set is long-tailed, validation and test set are balanced. Made by
    ``tools/dataset_tools/cifar100_mosaics.py``; a file holds each tile once and the four tiles of each mosaic.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        data_root: Folder of the files. Default: searched for in ``$LTMM_DATA_ROOT`` and ``data/``.
        kwargs: Arguments of mmpretrain's ``BaseDataset``.
    """

    def __init__(self, split: str = 'train', data_root: str = '', **kwargs) -> None:
        check(split=(split, ('test', 'train', 'val')))
        super().__init__(f'{split}.npz', check_files=False, data_root=data_root or str(find_folder([FOLDER])), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load one record per mosaic: ``img`` (64, 64, 3) uint8 RGB, ``gt_score``."""
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(
                f'{path.absolute()} does not exist. Make it with python tools/dataset_tools/cifar100_mosaics.py'
            )
        tiles, mosaics, labels, classes = read_arrays(path, ('tiles', 'mosaics', 'labels', 'classes'), 'Make it again.')
        self._metainfo['classes'] = tuple(classes.tolist())
        try:
            states = mosaic_states(labels[mosaics], len(classes))
        except IndexError as e:
            raise InputError(f'{path.absolute()} contradicts itself ({e}). Make it again.') from None
        return [dict(img=assemble(tiles[rows]), gt_score=row) for rows, row in zip(mosaics, states)]
