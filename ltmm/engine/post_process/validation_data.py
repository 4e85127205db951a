"""Data to fit a correction on, which are neither training nor test data."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['same_images', 'validation_dataset']


def validation_dataset(cfg: Config, split: str | None = None, val_images: int = 20) -> tuple[ConfigDict, str]:
    """Return the config of the validation data and their kind: ``'val'`` or ``'holdout'``.

    ``'val'`` is the dataset of ``val_dataloader``, which must not be the test set, as in the CIFAR papers.
    ``'holdout'`` are images of the training split that are not trained on: those that :class:`ltmm.datasets.LongTailed`
    drops, or the validation part of :class:`ltmm.datasets.Holdout`.

    Args:
        cfg: Config of the trained model.
        split: ``'val'`` or ``'holdout'``. Default: the first that is possible.
        val_images: Images per class from ``LongTailed``.
    """
    check(val_split=(split or 'val', ('val', 'holdout')))
    val, test = ((cfg.get(f'{name}_dataloader') or {}).get('dataset') for name in ('val', 'test'))
    if split != 'holdout' and val is not None and not same_images(val, test):
        return copy.deepcopy(val), 'val'
    if split == 'val':
        raise InputError(
            'Expected val_dataloader to have other images than test_dataloader, but '
            f"{'they are the same' if val is not None else 'there is none'}. Use val_split='holdout' "
            '(--val-split holdout).'
        )
    part = whole = copy.deepcopy((cfg.get('train_dataloader') or {}).get('dataset'))
    while part is not None:
        kind = str(part['type']).rsplit('.')[-1]
        if kind == 'LongTailed':
            part['val_images'] = val_images
            return whole, 'holdout'
        if kind == 'Holdout':
            part['part'] = 'val'
            return whole, 'holdout'
        part = part.get('dataset')
    raise InputError(
        'Expected validation data, but val_dataloader has only test images and the training set leaves no images out. '
        "Train on dict(type='ltmm.Holdout', part='train', dataset=...) instead of the whole training set."
    )


def same_images(one: Mapping, other: Mapping) -> bool:
    """Whether two dataset configs choose the same images, whatever their pipelines."""
    return _without_pipeline(one) == _without_pipeline(other)


def _without_pipeline(dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        return {key: _without_pipeline(value) for key, value in dataset.items() if key not in ('pipeline', 'test_mode')}
    return dataset
