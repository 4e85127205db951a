"""Data to choose a strength by, which are neither trained nor tested on."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

__all__ = ['same_images', 'validation_dataset']

VAL_SPLITS = ('val', 'holdout')


def validation_dataset(cfg: Config, split: str | None = None, val_images: int = 20) -> tuple[ConfigDict, str]:
    """Config of the data to choose a strength by, and how they were found: ``'val'`` or ``'holdout'``.

    ``'val'`` is the dataset of ``val_dataloader``, which must not be the test set, as it is in the CIFAR papers.
    ``'holdout'`` are images of the training split that the training leaves out: those :class:`ltmm.datasets.LongTailed`
    does not keep, or the validation part of :class:`ltmm.datasets.Holdout`.

    Args:
        cfg: config of the trained model.
        split: ``'val'`` or ``'holdout'``; the first that is possible when left out.
        val_images: of each class, from ``LongTailed``.

    Raises:
        ValueError: an unknown split, a validation set that is the test set, or a training set that leaves nothing out.
    """
    if split not in (None, *VAL_SPLITS):
        raise ValueError(f'Expected `val_split` to be one of {list(VAL_SPLITS)}, but got {split!r}.')
    val, test = ((cfg.get(f'{name}_dataloader') or {}).get('dataset') for name in ('val', 'test'))
    if split != 'holdout' and val is not None and not same_images(val, test):
        return copy.deepcopy(val), 'val'
    if split == 'val':
        raise ValueError(
            'Expected val_dataloader to hold other images than test_dataloader, but '
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
    raise ValueError(
        'Expected validation data beside the test set, but val_dataloader has none and the training set leaves nothing '
        "out. Train on dict(type='ltmm.Holdout', part='train', dataset=...) instead of the whole training set."
    )


def same_images(one: Mapping, other: Mapping) -> bool:
    """Whether two dataset configs choose the same images, whatever they do with them."""
    return _choice_of(one) == _choice_of(other)


def _choice_of(dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        return {key: _choice_of(value) for key, value in dataset.items() if key not in ('pipeline', 'test_mode')}
    return dataset
