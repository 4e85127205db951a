"""Hold parts of a model still, with a stated policy for their batch normalisation."""

from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltmm.registry import HOOKS

__all__ = ['FreezeHook']


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freezes parameters by name, for stages that train the classifier, or a part of it, alone.

    Batch normalisation in a frozen part follows ``norm_eval``. With False its layers stay in training mode, as in the
    code of Decoupling, BALMS and MiSLAS: they normalise by the batch, and their running statistics move towards those
    of the second stage's sampling. With True they use the running statistics of the first stage and leave them alone.
    Dropout in a frozen part is as in training in both.

    Args:
        prefixes: parameters and modules to freeze, ``'backbone'`` or ``'head.fc.weight'``.
        norm_eval: the policy above.

    Raises:
        ValueError: a prefix that no parameter has; or a frozen part that no checkpoint and no pretrained weights fill.
    """

    priority = 'HIGH'

    def __init__(self, prefixes: Sequence[str], norm_eval: bool = False) -> None:
        if isinstance(prefixes, str) or not prefixes:
            raise ValueError(f'Expected `prefixes` to be a list of names, but got {prefixes!r}.')
        self.prefixes, self.norm_eval = tuple(prefixes), norm_eval
        self._norms: list[_BatchNorm] = []

    def before_run(self, runner: Runner) -> None:
        """Freeze, before training."""
        if not isinstance(runner._train_loop, BaseLoop):  # a test
            return
        is_wrapped = is_model_wrapper(runner.model)
        model = runner.model.module if is_wrapped else runner.model
        names = [name for name, _ in model.named_parameters()]
        for prefix in self.prefixes:
            if not any(_is_under(name, prefix) for name in names):
                parts = sorted({'.'.join(name.split('.')[:depth]) for name in names for depth in (1, 2)})
                raise ValueError(
                    f'FreezeHook: no parameter is called {prefix!r} or {prefix + "."!r}..., so there is nothing to '
                    f'freeze. The model has, among others: {", ".join(parts[:12])}.'
                )
        for name, parameter in model.named_parameters():
            if self._holds(name):
                parameter.requires_grad_(False)
        if self.norm_eval:
            self._norms = [m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and self._holds(name)]
        if is_wrapped:  # the wrapper waits for the gradients of all that were trainable when it was made
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)

    def before_train(self, runner: Runner) -> None:
        """Refuse to freeze what is still at its random start."""
        if runner._has_loaded:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for prefix in self.prefixes:
            if not any(_is_pretrained(module) for module in _owners(model, prefix)):
                raise ValueError(
                    f'FreezeHook: {prefix!r} would be frozen at its random start. Run all stages with '
                    'python tools/train_stages.py CONFIG, or give the checkpoint of the stage before with '
                    '--cfg-options load_from=CHECKPOINT.'
                )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Put the frozen normalisation layers back into evaluation mode, which the start of an epoch ends."""
        if self._norms and self._norms[0].training:
            for module in self._norms:
                module.eval()

    def _holds(self, name: str) -> bool:
        return any(_is_under(name, prefix) for prefix in self.prefixes)


def _is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + '.')


def _owners(model: nn.Module, prefix: str) -> Iterator[nn.Module]:
    """The modules that ``prefix`` lies in, is, or holds."""
    for name, module in model.named_modules():
        if not name or _is_under(prefix, name) or _is_under(name, prefix):
            yield module


def _is_pretrained(module: nn.Module) -> bool:
    cfg = getattr(module, 'init_cfg', None)
    return any(c.get('type') == 'Pretrained' for c in (cfg if isinstance(cfg, list) else [cfg or {}]))
