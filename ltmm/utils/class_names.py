"""The rule for class names: label i has to mean the same class in training and test."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log

from .class_counts import ClassDistributionError

__all__ = ['check_class_names', 'class_names_of', 'class_names_of_dataset']

SHOWN = 5  # names in a message


def check_class_names(trained: Sequence[str], tested: Sequence[str], where: str) -> None:
    """Raise if labels stand for other classes than in training; warn of each name that differs.

    A training class at another index shifts the labels. A name that is not a training class may be another spelling of
    the class at its index, which only the user can tell.

    Args:
        trained: Class names of the training data, in label order.
        tested: Class names of other data, in label order.
        where: Name of the other data, such as ``'the test set'``.

    Raises:
        ClassDistributionError: The number of classes differs, or a training class has another index.
    """
    remedy = f'Set `metainfo=dict(classes=[...])` of {where} to the training classes in their order.'
    if len(trained) != len(tested):
        raise ClassDistributionError(
            f'Expected the {len(trained)} classes of the training data in {where}, but it has {len(tested)} classes; '
            f'only in training: {_listed(trained, tested)}; only in {where}: {_listed(tested, trained)}. {remedy}'
        )
    known = set(trained)
    other = [i for i, name in enumerate(tested) if name != trained[i]]
    if moved := [i for i in other if tested[i] in known]:
        i = moved[0]
        raise ClassDistributionError(
            f'Expected the same order of classes in training and {where}, but class {i} is {trained[i]!r} in training '
            f'and {tested[i]!r} in {where}. {remedy}'
        )
    if other:
        pairs = ', '.join(f'{trained[i]!r} and {tested[i]!r} (class {i})' for i in other[:SHOWN])
        print_log(
            f'{len(other)} of {len(trained)} class names differ in training and {where}: {pairs}'
            f'{", ..." * (len(other) > SHOWN)}. They are taken for the same classes.',
            'current',
            logging.WARNING,
        )


def class_names_of(meta: Mapping | None) -> Sequence[str] | None:
    """Return the class names in the ``meta`` of a checkpoint, in label order, or None."""
    return ((meta or {}).get('dataset_meta') or {}).get('classes')


def class_names_of_dataset(dataset: Any) -> Sequence[str] | None:
    """Return the class names of a dataset, in label order, or None; only datasets of OpenMMLab have ``metainfo``."""
    return getattr(dataset, 'metainfo', {}).get('classes')


def _listed(names: Sequence[str], others: Sequence[str]) -> str:
    known = set(others)
    only = [name for name in names if name not in known]
    return ', '.join(map(repr, only[:SHOWN])) + ', ...' * (len(only) > SHOWN) if only else 'none'
