"""Errors that are the input's, not the code's, and how the tools end with them."""

import difflib
import gc
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from mmengine.registry import Registry, root

__all__ = ['InputError', 'exit_readably', 'near_names']

PACKAGE = Path(__file__).resolve().parents[1]


class InputError(ValueError):
    """What was given cannot be what it is said to be; the tools show the message without a traceback."""


@contextmanager
def exit_readably(*also: type[Exception], if_interrupted: str = '') -> Iterator[None]:
    """End with one line instead of a traceback when what was asked for cannot be, through no fault of the code.

    After a success the process leaves its group: the threads of one that is still there abort the exit now and then.
    ``LTMM_TRACEBACK=1`` in the environment shows the traceback all the same.

    Args:
        also: further errors by which a tool says so.
        if_interrupted: what to do after Ctrl-C.
    """
    try:
        yield
        if dist.is_available() and dist.is_initialized():
            gc.collect()  # a distributed model in a cycle of references would keep the group and its threads
            dist.destroy_process_group()
    except KeyboardInterrupt:
        sys.exit(f'\nInterrupted. {if_interrupted}'.rstrip())
    except Exception as e:
        line = _explained(e) or _said_by_ltmm(e)
        if line is None and isinstance(e, (FloatingPointError, InputError, OSError, *also)):
            line = str(e)
        if os.environ.get('LTMM_TRACEBACK') or line is None:
            raise
        sys.exit(f'{type(e).__name__}: {line}')


def near_names(name: str, names: list[str]) -> str:
    """``' Did you mean a or b?'`` with the names that are nearly ``name``; empty when none is."""
    lower = {candidate.lower(): candidate for candidate in names}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.75)]
    return f' Did you mean {" or ".join(near)}?' if near else ''


def _said_by_ltmm(error: BaseException | None) -> str | None:
    """The message of the error of a chain that a ``raise`` in ltmm made, with the class that raised it.

    Any other error is a crash, whose traceback is wanted.
    """
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if frames and Path(frames[-1].filename).is_relative_to(PACKAGE) and frames[-1].line.startswith('raise '):
            frame = inspect.getinnerframes(error.__traceback__)[-1].frame
            owner = type(frame.f_locals['self']).__name__ if 'self' in frame.f_locals else ''
            return str(error) if owner in str(error) else f'{owner}: {error}'
        error = error.__cause__ or error.__context__
    return None


def _explained(error: Exception) -> str | None:
    """What a config says wrong, where the framework's error tells it; None for any other error."""
    text = str(error.args[0]) if error.args else ''
    if isinstance(error, KeyError) and (match := re.match(r'(\S+) is not in the \S*::(.+?) registry', text)):
        name, kind = match.groups()
        return f'There is no {kind} called {name!r}.{near_names(name, _registered(kind))}'
    if isinstance(error, TypeError) and (
        match := re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)
    ):
        owner, name = match.groups()
        return f'{owner} has no argument {name!r}.{near_names(name, _arguments(owner))}'
    return None


def _registered(kind: str) -> list[str]:
    """The names of a registry and its children, as a config writes them."""
    return [
        name if registry.scope == 'mmengine' else f'{registry.scope}.{name}'
        for registry in _registries()
        if registry.name == kind
        for name in registry.module_dict
    ]


def _arguments(class_name: str) -> list[str]:
    """The arguments of a registered class and its bases."""
    classes = {registry.module_dict[class_name] for registry in _registries() if class_name in registry.module_dict}
    return [
        name
        for cls in classes
        if inspect.isclass(cls)
        for base in cls.__mro__
        for name in inspect.signature(base.__init__).parameters
        if name not in ('self', 'args', 'kwargs')
    ]


def _registries() -> list[Registry]:
    found = [value for value in vars(root).values() if isinstance(value, Registry)]
    return found + [child for registry in found for child in registry.children.values()]
