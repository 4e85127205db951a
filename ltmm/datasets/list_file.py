"""ImageNet-LT, Places-LT and iNaturalist 2018: images in folders, and a text file that names them."""

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

from ltmm.registry import DATASETS

from .files import DATA_ROOT_VARIABLE, data_roots, file_or_gz, find_folder

__all__ = ['INaturalist2018', 'ImageNetLT', 'ListFileDataset', 'PlacesLT', 'Split', 'missing_images', 'read_list_file']


class Split(NamedTuple):
    """What the list file of a split must hold."""

    file: str
    num_images: int
    fewest: int  # images of the rarest class
    most: int  # images of the most frequent class


def read_list_file(path: Path, num_classes: int) -> tuple[list[str], np.ndarray]:
    """Image names and labels (N,) of a list file with lines ``<path> <label>``, plain or packed with gzip.

    Raises:
        ValueError: a line that is no such line, a label out of range, or an image that is named twice, with the
            number of the line; or a file that cannot be unpacked.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == '.gz' else data).decode().splitlines()
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is damaged ({error}). Fetch it again.') from None
    names, labels, seen = [], [], {}
    for number, line in enumerate(lines, 1):
        name, _, label = line.rstrip().rpartition(' ')
        if not name or not label.isdecimal():
            raise ValueError(f"{path}, line {number}: expected '<path> <label>', but got {line!r}.")
        if int(label) >= num_classes:
            raise ValueError(f'{path}, line {number}: expected a label in [0, {num_classes}), but got {label}.')
        if seen.setdefault(name, number) != number:
            raise ValueError(f'{path}, line {number}: {name} is already in line {seen[name]}.')
        names.append(name)
        labels.append(int(label))
    return names, np.array(labels, dtype=np.int64)


def missing_images(folder: Path, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that are not under ``folder``; every sub-folder is listed once, no file is touched."""
    wanted: dict[str, list[str]] = {}
    for name in names:
        parent, _, file = name.rpartition('/')
        wanted.setdefault(parent, []).append(file)
    missing = []
    for parent, files in wanted.items():
        try:
            present = set(os.listdir(folder / parent))
        except (FileNotFoundError, NotADirectoryError):
            present = set()
        missing += [f'{parent}/{file}' if parent else file for file in files if file not in present]
    return missing


class ListFileDataset(BaseDataset):
    """Base of the benchmarks whose official list files name the images; a subclass fills in the facts.

    The list file must hold the official number of images, in all and for the rarest and the most frequent class, so
    that a truncated or an outdated list does not become a benchmark figure.

    Args:
        split: a key of :attr:`splits`.
        data_root: folder of the images; searched for when left out.
        ann_file: the list file, a path relative to ``data_root`` or absolute; searched for when left out.
        check_files: look at load whether all images are there.
        kwargs: what mmpretrain's ``BaseDataset`` takes: ``pipeline``, ``indices``, ...

    Raises:
        FileNotFoundError: the list file or images are missing; says which archive or list to fetch and where it goes.
        ValueError: an unknown split, or a list file that is not the official one (names the line where there is one).
    """

    name = ''
    num_classes = 0
    splits: dict[str, Split] = {}
    folders: tuple[str, ...] = ()  # names of the folder of images; the first is where they should go
    list_folders: tuple[str, ...] = ()
    list_source = ''
    archives: dict[str, str] = {}  # first part of an image's path: archive it is in

    def __init__(
        self, split: str = 'train', data_root: str = '', ann_file: str = '', check_files: bool = True, **kwargs
    ) -> None:
        if split not in self.splits:
            raise ValueError(f'{self.name}: expected `split` to be one of {sorted(self.splits)}, but got {split!r}.')
        self.split, self.check_files = split, check_files
        data_root = data_root or str(find_folder(self.folders))
        super().__init__(ann_file=ann_file or self._find_list(data_root), data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One record an image: ``img_path``, ``gt_label``."""
        path, folder = Path(self.ann_file), Path(self.data_root)
        if not path.is_file():
            raise FileNotFoundError(
                f'{self.name}: the list file {path} is not there. Fetch {self.splits[self.split].file} from '
                f'{self.list_source}, and put it there, into {folder.absolute()}, or under ${DATA_ROOT_VARIABLE}.'
            )
        names, labels = read_list_file(path, self.num_classes)
        self._check_totals(labels)
        if self.check_files:
            self._check_images(folder, names)
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
            raise ValueError(
                f'{self.ann_file} is not the official {self.split} list of {self.name}: expected {expected[0]} images, '
                f'{expected[1]} to {expected[2]} a class, but got {got[0]}, {got[1]} to {got[2]}. '
                f'Fetch it again from {self.list_source}.'
            )

    def _check_images(self, folder: Path, names: list[str]) -> None:
        missing = missing_images(folder, names)
        if missing:
            archives = {self.archives[name.split('/')[0]] for name in missing if name.split('/')[0] in self.archives}
            raise FileNotFoundError(
                f'{self.name}: {len(missing)} of the {len(names)} images of {Path(self.ann_file).name} are not in '
                f'{folder.absolute()}: {", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}\n'
                f'Unpack there (or in {self.folders[0]}/ under ${DATA_ROOT_VARIABLE}): {"; ".join(sorted(archives))}\n'
                'With check_files=False the images are not looked for.'
            )

    def _class_names(self, names: list[str], labels: np.ndarray) -> tuple[str, ...]:
        """Names of the folders, without the part that names the split."""
        _, first = np.unique(labels, return_index=True)
        return tuple(names[i].rpartition('/')[0].partition('/')[2] for i in first)


@DATASETS.register_module()
class ImageNetLT(ListFileDataset):
    """ImageNet-LT: 1,000 classes of 1,280 to 5 training images; labels in the order of the sorted WordNet ids.

    [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
    [1] Lists: github.com/facebookresearch/classifier-balancing @f162ade.

    Args and errors: see :class:`ListFileDataset`. Splits: ``'train'``, ``'val'`` (20 images a class), ``'test'`` (50).
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
    archives = {
        'train': 'ILSVRC2012_img_train.tar (image-net.org) as train/<wnid>/*.JPEG',
        'val': 'ILSVRC2012_img_val.tar (image-net.org) as val/<wnid>/*.JPEG',
    }


@DATASETS.register_module()
class PlacesLT(ListFileDataset):
    """Places-LT: 365 scenes of 4,980 to 5 training images.

    Its list was replaced once; this is the present one, with 62,500 training images.

    [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
    [1] Lists: github.com/facebookresearch/classifier-balancing @f162ade.

    Args and errors: see :class:`ListFileDataset`. Splits: ``'train'``, ``'val'`` (20 images a class), ``'test'`` (100).
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
    archives = dict.fromkeys(
        ('train', 'val'), 'places365standard_easyformat.tar (places2.csail.mit.edu/download.html) as train/, val/'
    )


@DATASETS.register_module()
class INaturalist2018(ListFileDataset):
    """iNaturalist 2018: 8,142 species of 1,000 to 2 training images; its validation set is what papers test on.

    Class names are those of the folders, ``Plantae/7477``.

    [0] Van Horn et al., The iNaturalist Species Classification and Detection Dataset, CVPR 2018, arXiv 1707.06642.
    [1] Lists: github.com/facebookresearch/classifier-balancing @f162ade.

    Args and errors: see :class:`ListFileDataset`. Splits: ``'train'``, ``'val'`` (3 images a class).
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
    archives = {'train_val2018': 'train_val2018.tar.gz (github.com/visipedia/inat_comp, folder 2018)'}
