"""Hold parts of a model still, with a stated policy for their batch normalisation."""

from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltmm.models.layers.per_expert import single_name
from ltmm.registry import HOOKS
from ltmm.utils.wrappers import unwrap_model

__all__ = ['FreezeHook']


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freezes parameters by name, or all but the named, for stages that train the classifier, or a part of it, alone.

    Batch normalisation in a frozen part follows ``norm_eval``. With False its layers stay in training mode, as in the
    code of Decoupling, BALMS and MiSLAS: they normalise by the batch, and their running statistics move towards those
    of the second stage's sampling. With True they use the running statistics of the first stage and leave them alone.
    Dropout in a frozen part is as in training in both.

    Args:
        prefixes: parameters and modules to freeze, ``'backbone'`` or ``'head.fc.weight'``.
        keep: in place of ``prefixes``, the parameters and modules to train; all others are frozen.
        norm_eval: the policy above.

    Raises:
        ValueError: both or none of ``prefixes`` and ``keep``; a prefix that no parameter has; or a frozen part that no
            checkpoint and no pretrained weights fill, as the checkpoint lacks a parameter or has it in another shape.
    """

    priority = 'HIGH'

    def __init__(
        self, prefixes: Sequence[str] | None = None, keep: Sequence[str] | None = None, norm_eval: bool = False
    ) -> None:
        if (prefixes is None) == (keep is None):
            raise ValueError(
                'Expected either `prefixes`, what to freeze, or `keep`, what to train, but got '
                f'prefixes={prefixes!r} and keep={keep!r}.'
            )
        for name, value in (('prefixes', prefixes), ('keep', keep)):
            if value is not None and (isinstance(value, str) or not value):
                raise ValueError(f'Expected `{name}` to be a list of names, but got {value!r}.')
        self.freezes_named, self.norm_eval = keep is None, norm_eval
        self.prefixes = tuple(prefixes or keep)
        self._norms: list[_BatchNorm] = []
        self._checkpoint: dict | None = None

    def before_run(self, runner: Runner) -> None:
        """Freeze, before training."""
        if not isinstance(runner._train_loop, BaseLoop):  # a test
            return
        model = unwrap_model(runner.model)
        names = [name for name, _ in model.named_parameters()]
        for prefix in self.prefixes:
            if not any(_is_under(name, prefix) for name in names):
                parts = sorted({'.'.join(name.split('.')[:depth]) for name in names for depth in (1, 2)})
                raise ValueError(
                    f'FreezeHook: no parameter is called {prefix!r} or {prefix + "."!r}..., so there is nothing to '
                    f'{"freeze" if self.freezes_named else "train"}. The model has, among others: '
                    f'{", ".join(parts[:12])}.'
                )
        for name, parameter in model.named_parameters():
            if self._holds(name):
                parameter.requires_grad_(False)
        if self.norm_eval:
            self._norms = [m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and self._holds(name)]
        if model is not runner.model:  # the wrapper waits for the gradients of all that were trainable when it was made
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep it until all hooks have had it, so that what they leave out counts as missing."""
        self._checkpoint = checkpoint

    def before_train(self, runner: Runner) -> None:
        """Refuse to freeze what is still at its random start."""
        model = unwrap_model(runner.model)
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is not None:
            self._check_loaded(model, checkpoint.get('state_dict', checkpoint))
        if runner._has_loaded:
            return
        frozen = self.prefixes if self.freezes_named else [n for n, _ in model.named_parameters() if self._holds(n)]
        for prefix in frozen:
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

    def _check_loaded(self, model: nn.Module, loaded: dict) -> None:
        shapes = {name.removeprefix('module.'): tensor.shape for name, tensor in loaded.items()}
        for name, parameter in model.named_parameters():
            shape = shapes.get(name, shapes.get(single_name(name)))
            if not self._holds(name) or shape == parameter.shape:
                continue
            if shape is None and any(_is_pretrained(module) for module in _owners(model, name)):
                continue
            has = 'does not have it' if shape is None else f'has it as {tuple(shape)}'
            raise ValueError(
                f'FreezeHook: {name}, {tuple(parameter.shape)}, would be frozen at its random start: the checkpoint '
                f'{has}. Was it trained with another network?'
            )

    def _holds(self, name: str) -> bool:
        return any(_is_under(name, prefix) for prefix in self.prefixes) is self.freezes_named


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
