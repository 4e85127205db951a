"""Images of one's own, in a folder per class or listed in a text file."""

import logging
import os
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset as MMPretrainCustomDataset

from ltmm.registry import DATASETS
from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError, did_you_mean

from .files import IMAGE_SOURCE, MAX_DIGITS, check_images
from .image_paths import files_under, is_hidden, is_image

__all__ = ['CustomDataset', 'check_custom_dataset']


@DATASETS.register_module()
class CustomDataset(MMPretrainCustomDataset):
    """mmpretrain's CustomDataset that reads every image, ignores hidden files and folders, and says what it skips.

    Without ``ann_file``, each sub-folder of ``data_prefix`` is a class. ``metainfo=dict(classes=[...])`` selects and
    orders them by name; if no name is that of a folder, the names belong to the folders in alphabetical order. With
    ``ann_file``, each line is ``<path> <label>``.

    Args:
        *args: See :class:`mmpretrain.datasets.CustomDataset`.
        extensions: Suffixes of images. Default: every file that OpenCV or Pillow reads.
        check_files: Check that the images of ``ann_file`` exist.
        **kwargs: See :class:`mmpretrain.datasets.CustomDataset`.
    """

    def __init__(self, *args, extensions: Sequence[str] = (), check_files: bool = True, **kwargs) -> None:
        self.check_files = check_files
        super().__init__(*args, extensions=extensions, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img_path``, ``gt_label``."""
        if '://' in self.img_prefix:
            return super().load_data_list()
        samples = self._read_list() if self.ann_file else self._find_samples()
        if not self.with_label:
            return [dict(img_path=os.path.join(self.img_prefix, name)) for name in samples]
        return [dict(img_path=os.path.join(self.img_prefix, name), gt_label=label) for name, label in samples]

    def is_valid_file(self, filename: str) -> bool:
        """Whether the file is an image; ``filename`` is a path."""
        return filename.lower().endswith(self.extensions) if self.extensions else is_image(filename)

    def _read_list(self) -> list:
        lines = [(n, line) for n, line in enumerate(read_text(self.ann_file).splitlines(), 1) if line.strip()]
        samples = [line.strip() for _, line in lines]
        if self.with_label:
            samples = [tuple(line.rsplit(maxsplit=1)) for line in samples]
            for (number, line), sample in zip(lines, samples):
                if len(sample) < 2 or not sample[1].isdecimal() or len(sample[1]) > MAX_DIGITS:
                    hint = " type='ltmm.CSVDataset' reads CSV files." if self.ann_file.lower().endswith('.csv') else ''
                    raise InputError(f"{self.ann_file}, line {number}: expected '<path> <label>', got {line!r}.{hint}")
            samples = [(name, int(label)) for name, label in samples]
        if not samples:
            raise InputError(f'{self.ann_file} lists no images.')
        if self.check_files:
            names = [sample[0] for sample in samples] if self.with_label else samples
            check_images(Path(self.img_prefix), names, IMAGE_SOURCE)
        return samples

    def _find_samples(self) -> list:
        root, skipped = Path(self.img_prefix), Counter()
        if not root.is_dir():
            problem = 'is a file' if root.exists() else 'does not exist'
            raise FileNotFoundError(f'Image folder {root.absolute()} {problem}. {IMAGE_SOURCE}')
        if not self.with_label:
            samples = list(self._images(root, skipped))
        else:
            entries = sorted(root.iterdir())
            self._metainfo['classes'], folders = self._classes([path.name for path in entries if path.is_dir()])
            for path in entries:
                if is_hidden(path.name):
                    skipped['hidden'] += len(list(files_under(path))) if path.is_dir() else 1
                elif path.is_dir() and path.name not in folders:
                    skipped['in folders that are no class'] += len(list(files_under(path)))
                elif path.is_file() and is_image(str(path)):
                    skipped['outside the folders of classes'] += 1
            self.folder_to_idx = {folder: label for label, folder in enumerate(folders)}
            found = {folder: list(self._images(root / folder, skipped)) for folder in sorted(folders)}
            samples = [
                (f'{folder}/{name}', self.folder_to_idx[folder]) for folder, names in found.items() for name in names
            ]
        if skipped:
            listed = ', '.join(f'{count} {kind}' for kind, count in skipped.most_common())
            total = skipped.total() + len(samples)
            print_log(f'{root}: {skipped.total()} of {total} files are skipped: {listed}.', 'current', logging.WARNING)
        if not samples:
            layout = ' in folders of classes: expected <class>/<image>' * self.with_label
            raise InputError(f'{root.absolute()} has no images{layout}.')
        return samples

    def _images(self, folder: Path, skipped: Counter) -> Iterator[str]:
        """Yield the images under ``folder``, and count the other files by their suffix."""
        for name in sorted(files_under(folder)):
            if is_hidden(name):
                skipped['hidden'] += 1
            elif self.is_valid_file(str(folder / name)):
                yield name
            else:
                skipped[os.path.splitext(name)[1].lower() or 'without suffix'] += 1

    def _classes(self, folders: list[str]) -> tuple[tuple[str, ...], list[str]]:
        """Return the names of the classes and their folders, in label order."""
        folders = [folder for folder in folders if not is_hidden(folder)]
        classes = self.CLASSES
        if classes is None:
            return tuple(folders), folders
        missing = [name for name in classes if name not in folders]
        if not missing:
            return tuple(classes), list(classes)
        is_near = {name.lower() for name in classes} & {folder.lower() for folder in folders}
        if len(missing) == len(classes) == len(folders) and not is_near:
            pairs = [f'{folder} is {name}' for folder, name in zip(folders, classes)]
            listed = ', '.join(pairs[:5]) + ', ...' * (len(pairs) > 5)
            print_log(f'{self.img_prefix}: the classes of `metainfo` name the folders in order: {listed}.', 'current')
            return tuple(classes), folders
        raise InputError(
            f'Expected the {len(classes)} classes of `metainfo` to be folders of {self.img_prefix}, but there is no '
            f'{missing[0]!r}.{did_you_mean(missing[0], folders)} It has {len(folders)} folders: '
            f'{", ".join(folders[:5])}{", ..." * (len(folders) > 5)}.'
        )


def check_custom_dataset(dataset: MMPretrainCustomDataset) -> None:
    """Refuse hidden folders and classes in another order than the folders; warn of images that mmpretrain skips."""
    if '://' in dataset.img_prefix or isinstance(dataset, CustomDataset):
        return
    root, remedy = Path(dataset.img_prefix), "Use type='ltmm.CustomDataset'"
    if dataset.ann_file:
        if Path(dataset.ann_file).read_bytes().startswith(BOM_UTF8):
            raise InputError(f'{dataset.ann_file} begins with a byte order mark. {remedy}, or remove it.')
        return
    folders = list(dataset.folder_to_idx) if dataset.with_label else []
    hidden = next(filter(is_hidden, folders), None)
    if hidden:
        raise InputError(f'{root / hidden} is class {folders.index(hidden)}. {remedy}, or remove the folder.')
    classes = list(dataset.CLASSES or folders)
    if classes != folders and set(classes) == set(folders):
        raise InputError(f'The order of classes in `metainfo` is not that of the folders in {root}. {remedy}.')
    names = [name for name in files_under(root) if not is_hidden(name) and not dataset.is_valid_file(name)]
    skipped = Counter(os.path.splitext(name)[1].lower() for name in names if is_image(str(root / name)))
    if skipped:
        listed = ', '.join(f'{count} {suffix}' for suffix, count in skipped.most_common())
        print_log(f'{root}: images are skipped: {listed}. {remedy}, which reads them.', 'current', logging.WARNING)
