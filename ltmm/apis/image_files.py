"""Image files of any place, loaded by the test pipeline of a config."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from ltmm.datasets.image_paths import files_under, is_hidden, is_image
from ltmm.datasets.images import CheckedLoad, ImageError, reason_of
from ltmm.engine.runner.model_outputs import underlying_datasets
from ltmm.utils.errors import InputError

from .trained_model import TrainedModel

__all__ = ['ImageFiles', 'find_images', 'holds_arrays', 'network_order', 'test_pipeline']


def find_images(names: Sequence[str]) -> list[Path]:
    """Return the images of files, folders (with all their sub-folders) and patterns such as ``'photos/*.jpg'``.

    Hidden files are left out, and so are files of a folder or pattern that are no images. Each image is there once.
    """
    found: dict[Path, Path] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = _images(path / name for name in sorted(files_under(path)) if not is_hidden(name))
        else:
            files = _images(map(Path, sorted(glob.glob(str(path), recursive=True))))
            if not files and not glob.has_magic(str(path)):
                raise FileNotFoundError(f'There is no image, folder or pattern {name}.')
        if not files:
            raise InputError(f'There are no images in {name}.')
        found |= {file.resolve(): file for file in files if file.resolve() not in found}
    return list(found.values())


def _images(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.is_file() and is_image(str(file))]


class ImageFiles(Dataset):
    """Images as the test pipeline of a config gives them; images that cannot be read are told, not raised.

    Args:
        paths: The images.
        cfg: Config with a ``test_dataloader``.
        size: Height and width to which images are resized, for a config whose data set holds arrays, such as CIFAR;
            they become RGB, or gray for a network of one channel. Other pipelines resize by themselves.
        keep_images: Return the images as loaded too, to draw on them.
    """

    def __init__(
        self, paths: Sequence[Path], cfg: Config, size: tuple[int, int] | None = None, keep_images: bool = False
    ) -> None:
        self.paths, self.size, self.keep_images = list(paths), size, keep_images
        steps = Compose(test_pipeline(cfg)).transforms
        position = _position_of_load(steps)
        self.holds_arrays = position is None
        if self.holds_arrays and size is None:
            raise InputError(
                'The data set of this config holds arrays, so its pipeline does not resize images. Give the size of '
                'the training images: --size 32 (CIFAR), --size HEIGHTxWIDTH.'
            )
        if not self.holds_arrays and size is not None:
            raise InputError('The pipeline of this config resizes images by itself: leave out --size.')
        self.load = CheckedLoad(LoadImageFromFile() if self.holds_arrays else steps[position])
        self.steps = [step for i, step in enumerate(steps) if i != position and not isinstance(step, LoadAnnotations)]
        mean = (cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor') or {}).get('mean') or [0, 0, 0]
        self.is_gray = len(mean) == 1

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, dict | str, np.ndarray | None]:
        """Return the index, the packed inputs, and the image (H, W, 3), RGB, if it is kept; a text if it is broken."""
        try:
            results: Any = self.load(dict(img_path=str(self.paths[index]), img_id=index, sample_idx=index))
        except (ImageError, OSError) as e:
            return index, reason_of(e), None
        image = _as_rgb(results['img']) if self.keep_images else None
        if self.holds_arrays:
            img = cv2.cvtColor(results['img'], cv2.COLOR_BGR2GRAY if self.is_gray else cv2.COLOR_BGR2RGB)
            results['img'] = cv2.resize(img, self.size[::-1], interpolation=cv2.INTER_AREA)
            results['img_shape'] = self.size
        for step in self.steps:
            results = step(results)
        return index, results, image


def test_pipeline(cfg: Config) -> list[dict]:
    """Return the pipeline of the test data of a config."""
    if cfg.get('test_dataloader') is None:
        raise InputError('The config has no test_dataloader, whose pipeline prepares the images.')
    pipeline = underlying_datasets(cfg.test_dataloader.dataset)[0].get('pipeline')
    if pipeline is None:
        raise InputError('The test data of this config have no pipeline of images; a model of features takes none.')
    return pipeline


def holds_arrays(cfg: Config) -> bool:
    """Whether the test data of a config are arrays, RGB or gray, such as CIFAR's, not files."""
    return _position_of_load(Compose(test_pipeline(cfg)).transforms) is None


def network_order(trained: TrainedModel) -> str:
    """Order of the channels that the network sees, RGB or BGR; files are loaded as BGR, arrays are RGB."""
    is_rgb = holds_arrays(trained.cfg) != trained.model.data_preprocessor.to_rgb
    return 'RGB' if is_rgb else 'BGR'


def _position_of_load(steps: Sequence) -> int | None:
    return next((i for i, step in enumerate(steps) if isinstance(step, LoadImageFromFile)), None)


def _as_rgb(img: np.ndarray) -> np.ndarray:
    """Copy a loaded image, BGR or gray, to RGB of 8 bits."""
    img = img.clip(0, 255).astype(np.uint8)
    if img.ndim == 2 or img.shape[2] == 1:
        return cv2.cvtColor(img, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
