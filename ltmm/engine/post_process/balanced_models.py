"""Warn of a correction of the class prior for a model that has learned without it."""

import logging
from collections.abc import Iterable

from mmengine.config import Config
from mmengine.logging import print_log
from mmpretrain.models.losses import CrossEntropyLoss
from torch import nn

from ltmm.datasets.samplers.base import sampler_balances_classes
from ltmm.models.losses.base import LogitLoss
from ltmm.models.losses.objective import Objective
from ltmm.models.post_process import PostProcess

__all__ = ['balancing_parts', 'warn_if_balanced']


def warn_if_balanced(step: PostProcess, model: nn.Module, cfg: Config) -> None:
    """Warn if loss or sampler of the training have balanced the classes, so that the step would do it twice.

    Args:
        step: Correction.
        model: Trained model.
        cfg: Its config.
    """
    if not step.corrects_prior:
        return
    balancing = balancing_parts(step.heads(model).values(), cfg)
    if balancing:
        name = type(step).__name__
        print_log(
            f'{balancing[0]} has balanced the classes in training already; {name} on top of it '
            f'{step.cost_on_balanced}. {name} is for models that were trained without balancing.',
            'current',
            logging.WARNING,
        )


def balancing_parts(heads: Iterable[nn.Module], cfg: Config) -> list[str]:
    """Names of the losses and of the sampler that have balanced the classes in training.

    Args:
        heads: Heads of the trained model.
        cfg: Its config.
    """
    names = [type(module).__name__ for head in heads for module in head.modules() if _balances_classes(module)]
    sampler = (cfg.get('train_dataloader') or {}).get('sampler')
    if sampler and sampler_balances_classes(sampler):
        names.append(sampler['type'].removeprefix('ltmm.'))
    return names


def _balances_classes(module: nn.Module) -> bool:
    if isinstance(module, (LogitLoss, Objective)):
        return module.balances_classes
    return isinstance(module, CrossEntropyLoss) and module.class_weight is not None
