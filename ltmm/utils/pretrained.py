"""Weights that ``init_cfg=dict(type='Pretrained', ...)`` loads when a model is initialized."""

from typing import Any

from mmengine.model import BaseModule, PretrainedInit
from torch import Tensor, nn

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
    """Raise an InputError once ``init_weights`` loads a checkpoint of another architecture.

    This is one of which a module takes less than half of its parameters, by name and shape. MMEngine logs the
    others and goes on from random weights.
    """
    for name, module in model.named_modules():
        cfg = pretrained_cfg(module)
        if cfg is not None and any(True for _ in module.parameters()):
            _check_first_load(name or type(module).__name__, module, cfg)


def _check_first_load(name: str, module: nn.Module, cfg: dict) -> None:
    shapes = {key: parameter.shape for key, parameter in module.named_parameters()}
    loaded: dict[str, Tensor] = {}

    def keep(module: nn.Module, state_dict: dict[str, Tensor], *_: Any) -> None:
        loaded.update(state_dict)

    def check(module: nn.Module, keys: tuple[list[str], list[str]]) -> None:
        before.remove()
        after.remove()
        fitting = [key for key in shapes if key in loaded and loaded[key].shape == shapes[key]]
        if 2 * len(fitting) >= len(shapes):
            return
        differing = next((key for key in shapes if key in loaded and key not in fitting), None)
        own, other = next(iter(shapes)), [key for key in loaded if key not in shapes]
        found = next((key for key in other for own_name in shapes if key.endswith(f'.{own_name}')), None)
        hint = f'It has {other[0]}, not {own}.' if other else ''
        if fitting or differing:
            hint = 'It is of another architecture.'
        if differing:
            got = tuple(loaded[differing].shape)
            hint += f' {differing} has the shape {got}, not {tuple(shapes[differing])}.'
        elif found is not None and not fitting:
            prefix = found.removesuffix(next(n for n in shapes if found.endswith(f'.{n}')))
            hint = f'Its names begin with {prefix!r}: add prefix={prefix!r} to init_cfg.'
        part = f'{len(fitting)} of the' if fitting else 'none of its'
        raise InputError(f'{cfg["checkpoint"]}, `Pretrained` of {name}, has {part} {len(shapes)} parameters. {hint}')

    before = module.register_load_state_dict_pre_hook(keep)
    after = module.register_load_state_dict_post_hook(check)
