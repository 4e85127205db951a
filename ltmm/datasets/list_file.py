"""ImageNet-LT, Places-LT and iNaturalist 2018, whose images are listed in text files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError

from .files import DATA_ROOT_VARIABLE, MAX_DIGITS, check_images, data_roots, file_or_gz, find_folder

__all__ = ['INaturalist2018', 'ImageNetLT', 'ListFileDataset', 'PlacesLT', 'Split', 'read_list_file']


class Split(NamedTuple):
    """Name and published numbers of images of a list file."""

    file: str
    num_images: int
    fewest: int  # images of the rarest class
    most: int  # images of the most frequent class


def read_list_file(path: Path, num_classes: int) -> tuple[list[str], np.ndarray]:
    """Read image names and labels (N,) from a list file with lines ``<path> <label>``, plain or gzip."""
    names, labels, seen = [], [], {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name, _, label = line.rstrip().rpartition(' ')
        is_label = label.isdecimal() and len(label) <= MAX_DIGITS and int(label) < num_classes
        if not name or not is_label:
            raise InputError(f"{path}, line {number}: expected '<path> <label below {num_classes}>', got {line!r}.")
        if seen.setdefault(name, number) != number:
            raise InputError(f'{path}, line {number}: {name} is already in line {seen[name]}.')
        names.append(name)
        labels.append(int(label))
    return names, np.array(labels, dtype=np.int64)


class ListFileDataset(BaseDataset):
    """Base class for benchmarks with official list files of images.

    The list file must have the published number of images, in total and of the rarest and the most frequent class.

    Args:
        split: A key of :attr:`splits`.
        data_root: Folder of the images. Default: searched for in ``$LTMM_DATA_ROOT`` and ``data/``.
        ann_file: List file, relative to ``data_root`` or absolute. Default: searched for.
        check_files: Check that all images exist.
        kwargs: Arguments of mmpretrain's ``BaseDataset``: ``pipeline``, ``indices``, ...
    """

    name = ''
    num_classes = 0
    splits: dict[str, Split] = {}
    folders: tuple[str, ...] = ()  # names of the image folder; the first is the default
    list_folders: tuple[str, ...] = ()
    list_source = ''
    archives = ''  # where to get the images

    def __init__(
        self, split: str = 'train', data_root: str = '', ann_file: str = '', check_files: bool = True, **kwargs
    ) -> None:
        check(split=(split, self.splits))
        self.split, self.check_files = split, check_files
        data_root = data_root or str(find_folder(self.folders))
        super().__init__(ann_file=ann_file or self._find_list(data_root), data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img_path``, ``gt_label``."""
        path, folder = Path(self.ann_file), Path(self.data_root)
        if not path.is_file():
            raise FileNotFoundError(
                f'{self.name}: list file {path} does not exist. Download {self.splits[self.split].file} from '
                f'{self.list_source}.'
            )
        names, labels = read_list_file(path, self.num_classes)
        self._check_totals(labels)
        if self.check_files:
            source = f'Extract into {self.folders[0]}/ under ${DATA_ROOT_VARIABLE} or data/: {self.archives}.'
            check_images(folder, names, f'{self.name}: {source}')
        self._metainfo.setdefault('classes', self._class_names(names, labels))
        return [dict(img_path=f'{folder}/{name}', gt_label=label) for name, label in zip(names, labels.tolist())]

    def _find_list(self, data_root: str) -> str:
        file = self.splits[self.split].file
        folders = [Path(data_root), *(root / folder for root in data_roots() for folder in self.list_folders)]
        found = [path for path in (file_or_gz(folder / file) for folder in folders) if path]
        return str((found[0] if found else folders[1] / file).absolute())

    def _check_totals(self, labels: np.ndarray) -> None:
        counts = np.bincount(labels, minlength=self.num_classes)
        expected = self.splits[self.split][1:]
        got = len(labels), int(counts.min()), int(counts.max())
        if got != expected:
            raise InputError(
                f'{self.ann_file} is not the official {self.split} list of {self.name}: expected {expected[0]} images, '
                f'{expected[1]} to {expected[2]} per class, but got {got[0]}, {got[1]} to {got[2]}. '
                f'Download it from {self.list_source}.'
            )

    def _class_names(self, names: list[str], labels: np.ndarray) -> tuple[str, ...]:
        """Return the folder of each class, without the part that names the split."""
        _, first = np.unique(labels, return_index=True)
        return tuple(names[i].rpartition('/')[0].partition('/')[2] for i in first)


@DATASETS.register_module()
class ImageNetLT(ListFileDataset):
    """ImageNet-LT: 1,000 classes of 1,280 to 5 training images; labels follow the sorted WordNet ids.

    Splits: ``'train'``, ``'val'`` (20 images per class), ``'test'`` (50). Args: see :class:`ListFileDataset`.

    References:
        [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
        [1] Lists: github.com/facebookresearch/classifier-balancing @f162ade.
    """

    METAINFO = {'classes': IMAGENET_CATEGORIES}
    name = 'ImageNet-LT'
    num_classes = 1000
    splits = {
        'train': Split('ImageNet_LT_train.txt', 115_846, 5, 1280),
        'val': Split('ImageNet_LT_val.txt', 20_000, 20, 20),
        'test': Split('ImageNet_LT_test.txt', 50_000, 50, 50),
    }
    folders = ('imagenet', 'ImageNet', 'ILSVRC2012')
    list_folders = ('ImageNet_LT', 'imagenet_lt')
    list_source = 'github.com/facebookresearch/classifier-balancing, folder data/ImageNet_LT'
    archives = 'ILSVRC2012_img_{train,val}.tar (image-net.org) as train/<wnid>/*.JPEG and val/<wnid>/*.JPEG'


@DATASETS.register_module()
class PlacesLT(ListFileDataset):
    """Places-LT: 365 scenes of 4,980 to 5 training images, in the second version of its list, with 62,500 images.

    Splits: ``'train'``, ``'val'`` (20 images per class), ``'test'`` (100). Args: see :class:`ListFileDataset`.

    References:
        [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
        [1] Lists: github.com/facebookresearch/classifier-balancing @f162ade.
    """

    name = 'Places-LT'
    num_classes = 365
    splits = {
        'train': Split('Places_LT_train.txt', 62_500, 5, 4980),
        'val': Split('Places_LT_val.txt', 7_300, 20, 20),
        'test': Split('Places_LT_test.txt', 36_500, 100, 100),
    }
    folders = ('places365_standard', 'places365', 'Places365')
    list_folders = ('Places_LT', 'Places_LT_v2', 'places_lt')
    list_source = 'github.com/facebookresearch/classifier-balancing, folder data/Places_LT_v2'
    archives = 'places365standard_easyformat.tar (places2.csail.mit.edu/download.html) as train/, val/'


@DATASETS.register_module()
class INaturalist2018(ListFileDataset):
    """iNaturalist 2018: 8,142 species of 1,000 to 2 training images; papers test on its validation set.

    Splits: ``'train'``, ``'val'`` (3 images per class). Args: see :class:`ListFileDataset`. Class names are those of
    the folders, ``Plantae/7477``.

    References:
        [0] Van Horn et al., The iNaturalist Species Classification and Detection Dataset, CVPR 2018, arXiv 1707.06642.
        [1] Lists: github.com/facebookresearch/classifier-balancing @f162ade.
    """

    name = 'iNaturalist 2018'
    num_classes = 8142
    splits = {
        'train': Split('iNaturalist18_train.txt', 437_513, 2, 1000),
        'val': Split('iNaturalist18_val.txt', 24_426, 3, 3),
    }
    folders = ('inaturalist2018', 'iNaturalist18', 'inat2018')
    list_folders = ('iNaturalist18', 'inaturalist2018')
    list_source = 'github.com/facebookresearch/classifier-balancing, folder data/iNaturalist18'
    archives = 'train_val2018.tar.gz (github.com/visipedia/inat_comp, folder 2018)'
