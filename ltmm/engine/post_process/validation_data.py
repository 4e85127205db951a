"""Data to fit a correction on, which are neither training nor test data."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['same_images', 'trained_dataset', 'validation_dataset']

PARTS = ('LongTailed', 'Holdout')  # wrappers that leave images out of training
IMAGES_PER_CLASS = 20  # from LongTailed

NOT_IMAGES = (  # arguments of a dataset that do not choose its images
    *('pipeline', 'test_mode', 'metainfo', 'lazy_init', 'serialize_data', 'in_memory'),
    *('check_files', 'max_refetch', 'backend_args'),
)
NO_IMAGES_LEFT = (
    "Train on dict(type='ltmm.Holdout', part='train', dataset=...), give val_dataloader other images than "
    'test_dataloader, or choose the strength (--strength).'
)


def validation_dataset(cfg: Config, split: str | None = None, val_images: int | None = None) -> tuple[ConfigDict, str]:
    """Return the config of the validation data and their kind: ``'val'`` or ``'holdout'``.

    ``'val'`` is the dataset of ``val_dataloader``, which must not be the test set, as in the CIFAR papers.
    ``'holdout'`` are images of the training split that are not trained on: those that :class:`ltmm.datasets.LongTailed`
    drops, or the validation part of :class:`ltmm.datasets.Holdout`.

    Args:
        cfg: Config of the trained model.
        split: ``'val'`` or ``'holdout'``. Default: the first that is possible.
        val_images: Images per class from ``LongTailed``, 20 by default; refused for other data.
    """
    check(val_split=(split or 'val', ('val', 'holdout')))
    val, test = ((cfg.get(f'{name}_dataloader') or {}).get('dataset') for name in ('val', 'test'))
    if split != 'holdout' and val is not None and not same_images(val, test):
        _refuse(val_images, 'those of val_dataloader')
        return copy.deepcopy(val), 'val'
    part = whole = copy.deepcopy((cfg.get('train_dataloader') or {}).get('dataset'))
    while part is not None and (kind := _kind(part)) not in PARTS:
        part = part.get('dataset')
    if part is None or split == 'val':
        problems = ['the training set leaves no images out'] if part is None else []
        if split != 'holdout':
            problems.insert(0, 'the config has no val_dataloader' if val is None else 'val_dataloader is the test set')
        remedy = NO_IMAGES_LEFT if part is None else "Use val_split='holdout' (--val-split holdout)."
        raise InputError(f'Expected validation data for the correction, but {" and ".join(problems)}. {remedy}')
    if kind == 'LongTailed':
        part['val_images'] = IMAGES_PER_CLASS if val_images is None else val_images
    else:
        _refuse(val_images, 'a part of ltmm.Holdout, whose `per_class` says how many')
        part['part'] = 'val'
    return whole, 'holdout'


def trained_dataset(cfg: Config) -> ConfigDict:
    """Return the config of the images that a model was trained on, without repetitions and mixtures of them.

    Of several concatenated datasets, it is the first.
    """
    if not cfg.get('train_dataloader'):
        raise InputError('Expected data to search the strength on, but the config has no train_dataloader.')
    dataset = cfg.train_dataloader.dataset
    while _kind(dataset) not in PARTS and (
        inner := dataset.get('dataset') or next(iter(dataset.get('datasets', ())), None)
    ):
        dataset = inner
    return copy.deepcopy(dataset)


def _kind(dataset: Mapping) -> str:
    return str(dataset['type']).rsplit('.')[-1]


def _refuse(val_images: int | None, found: str) -> None:
    if val_images is not None:
        raise InputError(
            '`val_images` (--val-images) is a number of images of ltmm.LongTailed, but the validation data are '
            f'{found}. Leave it out.'
        )


def same_images(one: Mapping, other: Mapping) -> bool:
    """Whether two dataset configs choose the same images, whatever their pipelines and classes."""
    return _without_pipeline(one) == _without_pipeline(other)


def _without_pipeline(dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        return {key: _without_pipeline(value) for key, value in dataset.items() if key not in NOT_IMAGES}
    return dataset
