"""Freeze parts of a model."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch.nn.modules.batchnorm import _BatchNorm

from ltmm.models.layers.per_expert import single_name
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.pretrained import pretrained_cfg
from ltmm.utils.wrappers import unwrap_model

__all__ = ['FreezeHook']


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freezes parameters by name, or all but the named ones, for stages that train the classifier or a part of it.

    It raises an error before parameters are frozen at random values, which neither a checkpoint nor pretrained weights
    have set.

    Args:
        prefixes: Modules or parameters to freeze, such as ``'backbone'`` or ``'head.fc.weight'``.
        keep: Modules or parameters to train, instead of ``prefixes``; all others are frozen.
        norm_eval: Whether batch normalization in frozen parts uses its running statistics and does not update them. By
            default it stays in training mode, as in the code of Decoupling, BALMS and MiSLAS. Dropout always does.
    """

    priority = 'HIGH'

    def __init__(
        self, prefixes: Sequence[str] | None = None, keep: Sequence[str] | None = None, norm_eval: bool = False
    ) -> None:
        names = prefixes if keep is None else keep
        if (prefixes is not None and keep is not None) or isinstance(names, str) or not names:
            raise InputError(f'Expected a list as either `prefixes` or `keep`, but got {prefixes!r} and {keep!r}.')
        self.keep = keep is not None
        self.names = tuple(names)
        self.norm_eval = norm_eval
        self._norms: list[_BatchNorm] = []
        self._checkpoint: dict = {}

    def before_run(self, runner: Runner) -> None:
        """Freeze the parameters before training."""
        if not isinstance(runner._train_loop, BaseLoop):  # test
            return
        model = unwrap_model(runner.model)
        parameters = dict(model.named_parameters())
        for name in self.names:
            if not any(_contains(name, parameter) for parameter in parameters):
                parts = sorted({'.'.join(other.split('.')[:depth]) for other in parameters for depth in (1, 2)})
                raise InputError(f'FreezeHook: no parameter begins with {name!r}. Parts: {", ".join(parts[:12])}.')
        for name, parameter in parameters.items():
            if self._freezes(name):
                parameter.requires_grad_(False)
        if self.norm_eval:
            self._norms = [m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and self._freezes(name)]
        if model is not runner.model:  # DDP waits for the gradients of all parameters that were trainable at its start
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the checkpoint until all hooks have removed what they do not load."""
        self._checkpoint = checkpoint

    def before_train(self, runner: Runner) -> None:
        """Raise an error if a frozen parameter has a random value."""
        model = unwrap_model(runner.model)
        state = self._checkpoint.get('state_dict', self._checkpoint)
        shapes = {name.removeprefix('module.'): tensor.shape for name, tensor in state.items()}
        pretrained = [name for name, module in model.named_modules() if pretrained_cfg(module)]
        for name, parameter in model.named_parameters():
            shape = shapes.get(name, shapes.get(single_name(name)))
            if not self._freezes(name) or shape == parameter.shape:
                continue
            if shape is None and any(_contains(module, name) for module in pretrained):
                continue
            found = 'no checkpoint' if not shapes else 'a checkpoint without it'
            found = found if shape is None else f'a checkpoint with shape {tuple(shape)}'
            raise InputError(
                f'FreezeHook: {name}, {tuple(parameter.shape)}, would be frozen at random values, with {found}. '
                'Run all stages with python tools/train_stages.py CONFIG, or give the checkpoint of the stage before '
                'with --cfg-options load_from=CHECKPOINT.'
            )
        self._checkpoint = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Switch frozen normalization layers to evaluation mode; each epoch starts with ``model.train()``."""
        if self._norms and self._norms[0].training:
            for module in self._norms:
                module.eval()

    def _freezes(self, name: str) -> bool:
        return any(_contains(prefix, name) for prefix in self.names) is not self.keep


def _contains(prefix: str, name: str) -> bool:
    """Whether a parameter or module is, or belongs to, the module ``prefix``; '' is the whole model."""
    return not prefix or name == prefix or name.startswith(prefix + '.')
