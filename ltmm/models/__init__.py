"""Models: losses, heads, networks and what they keep while training.

``from ltmm.models import X`` finds X in the packages below, and imports a package only when something in it is needed.
"""

from importlib import import_module
from typing import Any

from ltmm.registry import MODEL_PACKAGES


def __getattr__(name: str) -> Any:
    for package in MODEL_PACKAGES if name[0].isalpha() else ():
        module = import_module(package)
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
