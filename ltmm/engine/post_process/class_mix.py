"""Check that the validation data have the class mix that a correction expects."""

import logging

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.models.post_process import PostProcess
from ltmm.utils.errors import InputError

__all__ = ['check_class_mix', 'compare_class_mix']


def check_class_mix(step: PostProcess, label: Tensor, distribution: ClassDistribution, cfg: Config) -> None:
    """Compare the validation data with the test data of a config, see :func:`compare_class_mix`.

    Args:
        step: Correction.
        label: Class indices of the validation data, (N,).
        distribution: Of the training data.
        cfg: Config of the model.
    """
    test = class_distribution_of(cfg.test_dataloader.dataset).prior if step.val_mix == 'test' else None
    compare_class_mix(step, label, distribution, test)


def compare_class_mix(
    step: PostProcess, label: Tensor, distribution: ClassDistribution, test: np.ndarray | None
) -> None:
    """Refuse or warn of validation data whose class mix is nearer to another than to that of ``step.val_mix``.

    For ``'train'`` the other mix is a balanced one, and such data are refused; for ``'test'`` it is that of the
    training data.

    Args:
        step: Correction.
        label: Class indices of the validation data, (N,).
        distribution: Of the training data.
        test: Class frequencies of the test data, (C,), for a ``val_mix`` of ``'test'``.
    """
    num_classes, name = len(distribution), type(step).__name__
    val = label.bincount(minlength=num_classes).numpy() / max(len(label), 1)
    order = np.argsort(-distribution.prior, kind='stable')[: max(num_classes // 2, 1)]

    def percent(mix: np.ndarray) -> str:
        return f'{100 * mix[order].sum():.0f} %'

    found = (
        f'the {len(order)} most frequent classes have {percent(distribution.prior)} of the training images and '
        f'{percent(val)} of the validation images'
    )
    if step.val_mix == 'train' and _distance(val, np.full(num_classes, 1 / num_classes)) < _distance(
        val, distribution.prior
    ):
        raise InputError(
            f'{name}: expected validation data with the class mix of the training data, but {found}. Hold out a share '
            "of each class, dict(type='ltmm.Holdout', part='train', per_class=0.2, dataset=...), or use "
            'ltmm.TemperatureScaling.'
        )
    if step.val_mix == 'test' and _distance(val, distribution.prior) < _distance(val, test):
        print_log(
            f'{name} holds for test data with the class mix of the validation data, but {found}, and '
            f'{percent(test)} of the test images.',
            'current',
            logging.WARNING,
        )


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Total variation distance."""
    return float(np.abs(one - other).sum() / 2)
