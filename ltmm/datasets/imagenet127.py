"""ImageNet-127: the classes of ImageNet merged into 127 super-classes, which makes a long tail."""

import os
from pathlib import Path

from mmpretrain.datasets import BaseDataset

from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError

from .files import DATA_ROOT_VARIABLE, data_roots, file_or_gz, find_folder
from .list_file import ImageNetLT

__all__ = ['ImageNet127', 'read_super_classes']


def read_super_classes(path: Path) -> dict[str, str]:
    """Read the super-class of each WordNet id from a text file with lines ``<WordNet id> <super-class>``."""
    super_class: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        wnid, _, name = line.strip().partition(' ')
        if not name.strip() or wnid in super_class:
            expected = 'each WordNet id once' if wnid in super_class else "'<WordNet id> <super-class>'"
            raise InputError(f'{path}, line {number}: expected {expected}, but got {line!r}.')
        super_class[wnid] = name.strip()
    return super_class


@DATASETS.register_module()
class ImageNet127(BaseDataset):
    """ImageNet-127: ImageNet with its 1,000 classes merged into 127, the largest 286 times the smallest in training.

    Class 0 is the most frequent in training and the last class the rarest: ACR compares class distributions with
    their reversal. Names of super-classes are those of the file. The validation images have the same long tail, so
    papers report the mean recall of the classes. Papers shrink the images to 32 x 32 or 64 x 64 with a box filter; a
    folder of images shrunk beforehand is read in the same way.

    References:
        [0] Huh et al., What Makes ImageNet Good for Transfer Learning?, 2016, arXiv 1608.08614.
        [1] Wei et al., CReST: A Class-Rebalancing Self-Training Framework for Imbalanced Semi-Supervised Learning,
            CVPR 2021, arXiv 2102.09559.

    Args:
        split: ``'train'`` (1,281,167 images) or ``'val'`` (50,000).
        data_root: Folder with ``train/<WordNet id>/*.JPEG`` and ``val/<WordNet id>/*.JPEG``. Default: ``imagenet/``
            under ``$LTMM_DATA_ROOT`` or ``data/``. The validation set needs the folders of ``train/`` too, for the
            order of the classes, unless ``metainfo=dict(classes=[...])`` gives it.
        class_file: Text file with a line ``<WordNet id> <super-class>`` for each of the 1,000 classes. Default:
            ``imagenet127.txt`` in ``data_root``, ``$LTMM_DATA_ROOT`` or ``data/``.
        kwargs: Arguments of mmpretrain's ``BaseDataset``: ``pipeline``, ``indices``, ...
    """

    num_classes = 127
    num_wnids = 1000
    num_images = {'train': 1_281_167, 'val': 50_000}
    file_name = 'imagenet127.txt'

    def __init__(self, split: str = 'train', data_root: str = '', class_file: str = '', **kwargs) -> None:
        check(split=(split, self.num_images))
        self.split = split
        data_root = data_root or str(find_folder(ImageNetLT.folders))
        found = (file_or_gz(folder / self.file_name) for folder in (Path(data_root), *data_roots()))
        class_file = class_file or str(next(filter(None, found), Path(data_root, self.file_name)).absolute())
        super().__init__(ann_file=class_file, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img_path``, ``gt_label``."""
        super_class = self._read_class_file()
        files = self._list_images(self.split, super_class)
        classes = self._metainfo.get('classes')
        if classes is None:
            classes = self._by_frequency(super_class)
        elif sorted(classes) != sorted(set(super_class.values())):
            raise InputError(f'Expected the classes in `metainfo` to be the {self.num_classes} of {self.ann_file}.')
        self._metainfo['classes'] = tuple(classes)
        label = {name: i for i, name in enumerate(classes)}
        folder = f'{self.data_root}/{self.split}'
        return [
            dict(img_path=f'{folder}/{wnid}/{name}', gt_label=label[super_class[wnid]])
            for wnid, names in files.items()
            for name in names
        ]

    def _read_class_file(self) -> dict[str, str]:
        path = Path(self.ann_file).absolute()
        if not path.is_file():
            raise FileNotFoundError(
                f'ImageNet-127: {path} does not exist. Write a line "<WordNet id> <super-class>" for each of the '
                f'{self.num_wnids} classes of ImageNet, from the super-classes of arXiv 1608.08614, and put the file '
                f'there or into ${DATA_ROOT_VARIABLE} or data/.'
            )
        super_class = read_super_classes(path)
        got = len(super_class), len(set(super_class.values()))
        if got != (self.num_wnids, self.num_classes):
            raise InputError(
                f'{path}: expected {self.num_wnids} WordNet ids in {self.num_classes} super-classes, but got {got[0]} '
                f'in {got[1]}.'
            )
        return super_class

    def _list_images(self, split: str, super_class: dict[str, str]) -> dict[str, list[str]]:
        """Return the sorted file names of each WordNet id; they must be as many as published."""
        folder = Path(self.data_root, split).absolute()
        missing = [wnid for wnid in super_class if not (folder / wnid).is_dir()]
        if missing:
            hint = '' if split == self.split else ' Its images tell the order of the classes, or `metainfo` does.'
            raise FileNotFoundError(
                f'ImageNet-127: {folder / missing[0]} does not exist, nor {len(missing) - 1} further folders. Extract '
                f'into {ImageNetLT.folders[0]}/ under ${DATA_ROOT_VARIABLE} or data/: {ImageNetLT.archives}.{hint}'
            )
        files = {wnid: sorted(os.listdir(folder / wnid)) for wnid in sorted(super_class)}
        if (num_images := sum(map(len, files.values()))) != self.num_images[split]:
            raise InputError(
                f'{folder} is not the {split} split of ImageNet: expected {self.num_images[split]:,} images, but got '
                f'{num_images:,}. Extract the archive again.'
            )
        return files

    def _by_frequency(self, super_class: dict[str, str]) -> list[str]:
        """Return the names of the super-classes, the one with the most training images first; ties by name."""
        num_images = dict.fromkeys(sorted(super_class.values()), 0)
        for wnid, names in self._list_images('train', super_class).items():
            num_images[super_class[wnid]] += len(names)
        return sorted(num_images, key=num_images.get, reverse=True)
