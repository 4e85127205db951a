"""Pairs of large and small images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from ltmm.datasets.files import data_roots, find_folder
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.data_files import DataFileError
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

__all__ = ['DIV2K', 'SamplePhotos', 'SuperResolutionDataset', 'downscale']

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp')


def downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Make the small image of a large one: bicubic (coefficient -0.5) with antialiasing, as published test sets do.

    PyTorch's bicubic interpolation does not suppress aliasing unless asked to, and has another coefficient.

    Args:
        image: uint8, (scale H, scale W, 3).
        scale: Factor.
    """
    height, width = image.shape[:2]
    return np.array(Image.fromarray(image).resize((width // scale, height // scale), Image.Resampling.BICUBIC))


def read_image(path: Path) -> np.ndarray:
    """Read an image as RGB, uint8, (H, W, 3)."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert('RGB'))
    except (OSError, UnidentifiedImageError, SyntaxError) as e:
        raise DataFileError(f'{path} cannot be read as an image ({e}).') from None


@DATASETS.register_module()
class SuperResolutionDataset(Dataset):
    """Large images of a folder, and small ones, made of them or read: whole pairs or random crops.

    A sample has ``inputs``, the small image (3, H, W) in [0, 1], and ``data_samples`` with ``hr``, the large one, and
    ``sample_idx``.

    Args:
        data_root: Folder of the large images, or its name under ``$LTMM_DATA_ROOT`` or ``data/``.
        scale: Factor between the two sizes. Large images are cropped to a multiple of it.
        lr_root: Folder of the small images, in the order of the large ones by name. Default: they are made by
            :func:`downscale`.
        patch_size: Edge of random crops, with random flips and transposition, in pixels of the small image; None for
            whole images.
        crops_per_image: Random crops of each image in an epoch.
        in_memory: Read all images once, at the start. False: in each epoch, for data that do not fit.
    """

    def __init__(
        self,
        data_root: str,
        scale: int = 4,
        lr_root: str | None = None,
        patch_size: int | None = None,
        crops_per_image: int = 1,
        in_memory: bool = True,
    ) -> None:
        check(scale=(scale, 'int >= 1'), patch_size=(patch_size, 'int >= 1 or None'))
        check(crops_per_image=(crops_per_image, 'int >= 1'))
        if patch_size is None and crops_per_image != 1:
            raise InputError(f'Expected `patch_size` with crops_per_image={crops_per_image}, but got None.')
        self.data_root, self.lr_root = data_root, lr_root
        self.scale, self.patch_size, self.crops_per_image = scale, patch_size, crops_per_image
        self.metainfo: dict = {}
        self.names, self._read_hr, self._read_lr = self.sources()
        self._pairs = [self._read(i) for i in range(len(self.names))] if in_memory else None

    def sources(self) -> tuple[list[str], Callable[[int], np.ndarray], Callable[[int], np.ndarray] | None]:
        """Return names of the images, a function that reads a large one, and one that reads a small one or None."""
        hr = _images(self.data_root)
        if self.lr_root is None:
            return [path.name for path in hr], lambda i: read_image(hr[i]), None
        lr = _images(self.lr_root)
        if len(lr) != len(hr):
            raise InputError(f'Expected {len(hr)} images in {self.lr_root}, as in {self.data_root}, but got {len(lr)}.')
        return [path.name for path in hr], lambda i: read_image(hr[i]), lambda i: read_image(lr[i])

    def _read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a small and a large image of matching sizes."""
        hr, scale = self._read_hr(i), self.scale
        height, width = (length // scale for length in hr.shape[:2])
        if min(height, width) < (self.patch_size or 1):
            raise InputError(
                f'{self.names[i]}: expected at least {scale * (self.patch_size or 1)} pixels in height and width, but '
                f'got {hr.shape[0]} x {hr.shape[1]}.'
            )
        hr = hr[: scale * height, : scale * width]
        lr = downscale(hr, scale) if self._read_lr is None else self._read_lr(i)
        if lr.shape[:2] != (height, width):
            raise InputError(
                f'{self.names[i]}: expected a small image of {height} x {width} pixels at scale {scale}, but got '
                f'{lr.shape[0]} x {lr.shape[1]}.'
            )
        return lr, hr

    def __len__(self) -> int:
        return len(self.names) * self.crops_per_image

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):  # a loop over the data set ends by it
            raise IndexError(f'Expected an index below {len(self)}, but got {index}.')
        i = index % len(self.names)
        pair = self._read(i) if self._pairs is None else self._pairs[i]
        if self.patch_size is not None:
            pair = self._random_crop(*pair)
        lr, hr = (_to_tensor(image) for image in pair)
        return dict(inputs=lr, data_samples=dict(hr=hr, sample_idx=index))

    def _random_crop(self, lr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crop both at the same place, flip and transpose them at random."""
        size = self.patch_size
        top, left = (int(torch.randint(length - size + 1, ())) for length in lr.shape[:2])
        flip, mirror, transpose = torch.randint(2, (3,)).tolist()
        crops = []
        for image, factor in ((lr, 1), (hr, self.scale)):
            crop = image[factor * top :, factor * left :][: factor * size, : factor * size]
            crop = crop[:: -1 if flip else 1, :: -1 if mirror else 1]
            crops.append(crop.swapaxes(0, 1) if transpose else crop)
        return tuple(crops)


@DATASETS.register_module()
class SamplePhotos(SuperResolutionDataset):
    """Photos that come with scikit-image and scikit-learn: 10 to train on, 4 others to test; no download.

    Args:
        split: ``'train'`` or ``'test'``.
        kwargs: See :class:`SuperResolutionDataset`, without ``data_root`` and ``lr_root``.
    """

    PHOTOS = dict(
        train=(
            'astronaut',
            'brick',
            'coins',
            'flower.jpg',
            'grass',
            'gravel',
            'hubble_deep_field',
            'immunohistochemistry',
            'rocket',
            'stereo_motorcycle',
        ),
        test=('camera', 'chelsea', 'china.jpg', 'coffee'),
    )

    def __init__(self, split: str, **kwargs: Any) -> None:
        check(split=(split, tuple(self.PHOTOS)))
        self.split = split
        super().__init__(data_root='', **kwargs)

    def sources(self) -> tuple[list[str], Callable[[int], np.ndarray], None]:
        names = self.PHOTOS[self.split]
        return [*names], lambda i: _sample_photo(names[i]), None


@DATASETS.register_module()
class DIV2K(SuperResolutionDataset):
    """DIV2K: 800 photos of 2K to train on, 100 to test, with small images by MATLAB's bicubic interpolation.

    Args:
        split: ``'train'`` or ``'valid'``.
        data_root: Folder that holds ``DIV2K_train_HR`` and ``DIV2K_train_LR_bicubic/X4``. Default: ``DIV2K`` under
            ``$LTMM_DATA_ROOT`` or ``data/``.
        scale: 2, 3 or 4.
        in_memory: 9 GB for the training set.
        kwargs: See :class:`SuperResolutionDataset`.
    """

    SITE = 'https://data.vision.ee.ethz.ch/cvl/DIV2K/'

    def __init__(self, split: str, data_root: str = '', scale: int = 4, in_memory: bool = False, **kwargs: Any) -> None:
        check(split=(split, ('train', 'valid')), scale=(scale, (2, 3, 4)))
        root = Path(data_root) if data_root else find_folder(['DIV2K'])
        folders = {
            root / f'DIV2K_{split}_HR': f'DIV2K_{split}_HR.zip',
            root / f'DIV2K_{split}_LR_bicubic/X{scale}': f'DIV2K_{split}_LR_bicubic_X{scale}.zip',
        }
        for folder, archive in folders.items():
            if not folder.is_dir():
                raise FileNotFoundError(
                    f'DIV2K: there is no folder {folder.absolute()}. Fetch {self.SITE}{archive} and unpack it in '
                    f'{root.absolute()}, or set LTMM_DATA_ROOT to the folder that holds DIV2K.'
                )
        hr, lr = map(str, folders)
        super().__init__(hr, scale, lr_root=lr, in_memory=in_memory, **kwargs)


def _images(folder: str) -> list[Path]:
    """Return the images of a folder by name."""
    root = Path(folder) if Path(folder).is_dir() else find_folder([folder])
    if not root.is_dir():
        places = ', '.join(str(place.absolute()) for place in [Path(folder), *(r / folder for r in data_roots())])
        raise FileNotFoundError(f'There is no folder of images {folder}: looked for {places}.')
    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f'Expected images ({", ".join(SUFFIXES)}) in {root.absolute()}, but found none.')
    return paths


def _sample_photo(name: str) -> np.ndarray:
    check_extra('super-resolution', 'skimage', 'sklearn')
    if name.endswith('.jpg'):
        from sklearn.datasets import load_sample_image

        return load_sample_image(name)
    from skimage import data

    photo = getattr(data, name)()
    photo = photo[0] if isinstance(photo, Sequence) else photo  # the left one of two, and the disparity
    return np.repeat(photo[..., None], 3, axis=2) if photo.ndim == 2 else photo


def _to_tensor(image: np.ndarray) -> Tensor:
    """Turn (H, W, 3) of uint8 into (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255
