"""Weights that ``init_cfg=dict(type='Pretrained', ...)`` loads when a model is initialized."""

from mmengine.model import BaseModule, PretrainedInit
from torch import nn

from .errors import InputError

__all__ = ['pretrained_cfg', 'random_parameters', 'refuse_unmatched_pretrained']


def pretrained_cfg(module: nn.Module) -> dict | None:
    """Return the ``Pretrained`` config of a module itself, or None."""
    cfgs = (module.init_cfg if isinstance(module, BaseModule) else None) or []
    cfgs = [cfgs] if isinstance(cfgs, dict) else cfgs
    return next((cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)), None)


def random_parameters(model: nn.Module) -> list[str]:
    """Return the parameters that the initialization of a model will leave at random values."""
    trained = [
        f'{name}.' if name else ''
        for name, module in model.named_modules()
        if isinstance(module, BaseModule) and (pretrained_cfg(module) or module.is_init)  # TIMMBackbone loads at once
    ]
    return [name for name, _ in model.named_parameters() if not name.startswith(tuple(trained))]


def refuse_unmatched_pretrained(model: nn.Module) -> None:
    """Raise an InputError once ``init_weights`` loads a checkpoint of which a module takes no parameter.

    MMEngine logs the missing names and goes on from random weights.
    """
    for name, module in model.named_modules():
        cfg = pretrained_cfg(module)
        if cfg is not None and any(True for _ in module.parameters()):
            _check_first_load(name or type(module).__name__, module, cfg)


def _check_first_load(name: str, module: nn.Module, cfg: dict) -> None:
    def check(module: nn.Module, keys: tuple[list[str], list[str]]) -> None:
        handle.remove()
        own, (missing, unexpected) = [key for key, _ in module.named_parameters()], keys
        if not set(own) <= set(missing):
            return
        found = next((key for key in unexpected for own_name in own if key.endswith(f'.{own_name}')), None)
        hint = f'It has {unexpected[0]}, not {own[0]}.' if unexpected else ''
        if found is not None:
            prefix = found.removesuffix(next(n for n in own if found.endswith(f'.{n}')))
            hint = f'Its names begin with {prefix!r}: add prefix={prefix!r} to init_cfg.'
        raise InputError(f'{cfg["checkpoint"]}, `Pretrained` of {name}, has none of its {len(own)} parameters. {hint}')

    handle = module.register_load_state_dict_post_hook(check)
