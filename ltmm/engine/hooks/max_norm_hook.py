"""MaxNorm: bound the norm of the weights of each class."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from ltmm.registry import HOOKS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.wrappers import unwrap_model

from .progress_hook import epoch_length

__all__ = ['MaxNormHook', 'norm_between']

KEY = 'max_norm'


def norm_between(weight: Tensor, position: float) -> Tensor:
    """Return the norm at a relative position between the smallest and the largest norm of the rows of a weight."""
    smallest, largest = weight.norm(dim=1).aminmax()
    return smallest + position * (largest - smallest)


@HOOKS.register_module()
class MaxNormHook(Hook):
    r"""Shrinks the weights of frequent classes to a maximum norm after every epoch; those of rare classes stay.

    .. math:: W_c \leftarrow W_c \min\Big(1, \frac{\delta}{\|W_c\|}\Big), \qquad
        \delta = \min_c \|W_c\| + 0.1 \, (\max_c \|W_c\| - \min_c \|W_c\|)

    The bound :math:`\delta` is of the weights with which the training starts, those of the first stage. A checkpoint
    holds it. The bias is free. A training that counts iterations has epochs of one pass over its data; there the
    weights shrink after the last iteration too.

    References:
        [0] Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022, arXiv 2203.14197.
        [1] github.com/ShadeAlsha/LTR-weight-balancing @e89f292, utils/regularizers.py.

    Args:
        position: Relative position of the bound between the smallest and the largest norm.
        parameter: Name of the weights, (C, D).
    """

    def __init__(self, position: float = 0.1, parameter: str = 'head.fc.weight') -> None:
        check(position=(position, 'in [0, 1]'))
        self.position, self.parameter = position, parameter

    def before_train(self, runner: Runner) -> None:
        """Compute the bound, unless a resumed checkpoint holds it."""
        parameters = dict(unwrap_model(runner.model).named_parameters())
        if self.parameter not in parameters:
            raise InputError(f'MaxNormHook: the model has no parameter {self.parameter!r}.')
        self.weight = parameters[self.parameter]
        if not runner._resume:
            bound = norm_between(self.weight.detach(), self.position).item()
            runner.message_hub.update_info(KEY, bound)
        self.max_norm = runner.message_hub.get_info(KEY)

    def after_train_epoch(self, runner: Runner) -> None:
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._shrink()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            num_iters = runner.iter + 1
            if num_iters % epoch_length(runner) == 0 or num_iters == runner.max_iters:
                self._shrink()

    @torch.no_grad()
    def _shrink(self) -> None:
        self.weight.renorm_(p=2, dim=0, maxnorm=self.max_norm)
