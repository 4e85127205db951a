"""Whole trainings by the authors' code, adaptors by system: importing this package registers all of them."""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__):
    import_module(f'{__name__}.{module.name}')
