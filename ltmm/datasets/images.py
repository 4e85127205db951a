"""Images that cannot be read, or do not fit their annotation: named, and skipped on demand."""

import copy
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import print_log
from PIL import ExifTags, Image

from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

__all__ = [
    'CheckedLoad',
    'ImageError',
    'base_datasets',
    'check_loaded_images',
    'without_broken_images',
]

MAX_NAMES = 10  # images that an error lists


class ImageError(InputError):
    """An image that cannot be read, or has another size than its annotation says."""


class CheckedLoad(BaseTransform):
    """Loads an image by another transform, and compares its size with that of the annotation, if there is one.

    An image that OpenCV does not read is read by Pillow.

    Args:
        load: The transform.
    """

    def __init__(self, load: LoadImageFromFile) -> None:
        self.load = load

    def transform(self, results: dict) -> dict | None:
        """Set ``img``, ``img_shape`` and ``ori_shape``.

        Raises:
            ImageError: The image is broken, or of another size.
        """
        path = results.get('img_path', 'from an array')
        try:
            loaded = self.load(results)
        except FileNotFoundError:
            raise FileNotFoundError(f'Image {path} does not exist.') from None
        except Exception:  # decoders raise anything
            loaded = self._load_by_pillow(results)
        if loaded is not None and 'height' in loaded and 'width' in loaded:
            expected, got = (loaded['height'], loaded['width']), loaded['ori_shape']
            if expected != got:
                raise ImageError(_wrong_size(path, expected, got))
        return loaded

    def _load_by_pillow(self, results: dict) -> dict:
        load = copy.copy(self.load)
        load.imdecode_backend = 'pillow'
        try:
            return load(results)
        except Exception as e:
            reason = str(e).partition('<_io')[0].strip() or type(e).__name__
            raise ImageError(f'{results["img_path"]} cannot be read as an image ({reason}). {REMEDY}') from None

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.load!r})'


REMEDY = 'Repair or remove it, or skip up to N such images by --skip-broken N.'


def reason_of(error: Exception) -> str:
    """Return what is wrong with an image, without what to do."""
    return str(error).removesuffix(REMEDY).strip()


def _wrong_size(path: str, expected: tuple, got: tuple) -> str:
    sizes = [f'{height} x {width}' for height, width in (got, expected)]
    text = f'{path} has {sizes[0]} pixels (height x width), but its annotation says {sizes[1]}'
    if expected != got[::-1]:
        return f'{text}: boxes would be elsewhere. {REMEDY}'
    try:
        with Image.open(path) as image:
            is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    except OSError:  # on a remote disk
        is_turned = False
    if is_turned:
        return (
            f'{text}: it was turned as its EXIF orientation says. If boxes belong to the picture as stored, set '
            "color_type='color_ignore_orientation' in LoadImageFromFile; otherwise correct the annotation."
        )
    return f'{text}: width and height are swapped. Correct the annotation.'


def base_datasets(dataset: Any) -> Iterator[Any]:
    """Yield the datasets inside any wrappers."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from base_datasets(part)
    elif hasattr(dataset, 'dataset'):
        yield from base_datasets(dataset.dataset)
    else:
        yield dataset


def check_loaded_images(dataset: Any) -> None:
    """Let the pipeline of a dataset name images that are broken or of another size than their annotation says."""
    if not isinstance(dataset, BaseDataset):
        return
    steps = dataset.pipeline.transforms
    steps[:] = [CheckedLoad(step) if isinstance(step, LoadImageFromFile) else step for step in steps]


@DATASETS.register_module()
def without_broken_images(of: str | type, max_broken: int, **options: Any) -> BaseDataset:
    """Build a dataset and drop its broken images, which are found by loading all images once, shared by all ranks.

    Args:
        of: Type of the dataset.
        max_broken: Largest number of broken images; more are an error.
        options: Arguments of the dataset.
    """
    dataset = DATASETS.build(dict(type=of, **options))
    dataset.full_init()
    steps = dataset.pipeline.transforms if isinstance(dataset, BaseDataset) else ()
    load = next((CheckedLoad(step) for step in steps if isinstance(step, LoadImageFromFile)), None)
    if load is None:
        return dataset

    def problem_of(index: int) -> str | None:
        try:
            load(dataset.get_data_info(index))
        except (ImageError, OSError) as e:
            return reason_of(e)
        return None

    rank, num_ranks = get_dist_info()
    indices = range(rank, len(dataset), num_ranks)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        own = {i: problem for i, problem in zip(indices, threads.map(problem_of, indices)) if problem}
    broken = {i: problem for part in all_gather_object(own) for i, problem in part.items()}
    names = ' '.join(broken[i] for i in sorted(broken)[:MAX_NAMES]) + ' ...' * (len(broken) > MAX_NAMES)
    if len(broken) > max_broken:
        raise ImageError(
            f'{len(broken)} of {len(dataset)} images are broken, but --skip-broken allows {max_broken}. {names}'
        )
    if broken:
        skipped = f'{len(broken)} of {len(dataset)} images are skipped as they are broken'
        print_log(f'{skipped}. {names}', 'current', logging.WARNING)
        dataset.get_subset_([i for i in range(len(dataset)) if i not in broken])
    return dataset
