"""Values that a config states once and uses in several places: ``num_classes='${num_classes}'``."""

import copy
import re
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from .class_names import class_names_of_dataset
from .errors import InputError

__all__ = ['count_classes', 'referenced_names', 'resolve_references']

REFERENCE = re.compile(r'\$\{([\w.]+)\}')
AUTO = 'auto'


def count_classes(cfg: Config) -> None:
    """Replace ``num_classes='auto'`` of a config by the number of classes of its training set.

    Args:
        cfg: Config, changed in place; before :func:`resolve_references`.
    """
    if cfg.get('num_classes') != AUTO:
        return
    if not cfg.get('train_dataloader'):
        raise InputError("num_classes='auto' needs a train_dataloader. Set num_classes to the number of classes.")
    from ltmm.registry import DATASETS  # slow to import with its datasets

    dataset = _resolved(Config(dict(dataset=cfg.train_dataloader.dataset)).dataset, cfg, ('train_dataloader',))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        names = class_names_of_dataset(DATASETS.build(dataset))
    if not names:
        raise InputError("num_classes='auto' needs a training set with class names. Set num_classes to their number.")
    cfg.num_classes = len(names)


def referenced_names(cfg: Config) -> set[str]:
    """Return the names of the top-level values that a config refers to as ``'${name}'``."""
    return {name.split('.')[0] for name in REFERENCE.findall(repr(cfg._cfg_dict))}


def resolve_references(cfg: Config) -> None:
    """Replace each ``'${name}'`` in a config by its value ``name``, or each ``'${a.b}'`` by the value ``b`` of ``a``.

    MMEngine's ``{{_base_.name}}`` is replaced while the file is read, before a config that inherits it or the command
    line changes the value; these references are replaced afterwards. A text that is a reference takes the value with
    its type, a copy of a list or dictionary; references within a longer text are replaced by text.

    Args:
        cfg: Config, changed in place.
    """
    for key, value in cfg._cfg_dict.items():
        cfg._cfg_dict[key] = _resolved(value, cfg, (key,))


def _resolved(value: Any, cfg: Config, path: tuple[str, ...]) -> Any:
    """Return a value without references; ``path`` are the names that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _resolved(item, cfg, path)
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(_resolved(item, cfg, path) for item in value)
    if not isinstance(value, str) or '${' not in value:
        return value
    if whole := REFERENCE.fullmatch(value):
        return _value(whole[1], cfg, path)
    return REFERENCE.sub(lambda match: str(_value(match[1], cfg, path)), value)


def _value(name: str, cfg: Config, path: tuple[str, ...]) -> Any:
    value = cfg
    for key in name.split('.'):
        value = value.get(key) if isinstance(value, (dict, Config)) else None
    if name in path[1:] or value is None:
        problem = 'refers to itself' if name in path[1:] else 'is not set'
        line = '' if '.' in name else f', or a line {name} = ... to the config'
        raise InputError(f'`{name}` of the config {problem}. Add --cfg-options {name}=... to the command{line}.')
    return _resolved(copy.deepcopy(value), cfg, (*path, name))
