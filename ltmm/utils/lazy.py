"""Packages that import their modules when something in them is needed."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .environment import needs_frameworks

__all__ = ['lazy_attributes']


def lazy_attributes(package: str, modules: Sequence[str]) -> Callable[[str], Any]:
    """Return a module-level ``__getattr__`` that searches modules in order, and imports them until one has the name.

    Args:
        package: ``__name__`` of the package.
        modules: Full names of the modules.
    """

    def __getattr__(name: str) -> Any:
        if name[0].isalpha():
            if find_spec(f'{package}.{name}') is not None:
                return import_module(f'{package}.{name}')
            for module in modules:
                with needs_frameworks():
                    module = import_module(module)
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    return __getattr__
