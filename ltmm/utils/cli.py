"""How the command-line tools end: in one line for an error in the input, with a traceback for a bug."""

import gc
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
from mmengine.registry import Registry, root

from .data_files import why_unreadable
from .environment import EnvironmentProblem
from .errors import InputError, did_you_mean

__all__ = ['one_line_errors']

EXPECTED = (InputError, EnvironmentProblem, OSError, FloatingPointError)  # FloatingPointError: the loss is not finite


@contextmanager
def one_line_errors(if_interrupted: str = '') -> Iterator[None]:
    """Exit with one line instead of a traceback after an error in the input; ``LTMM_TRACEBACK=1`` shows the traceback.

    Args:
        if_interrupted: What to do after Ctrl-C.
    """
    try:
        yield
        if dist.is_available() and dist.is_initialized():
            gc.collect()  # a distributed model in a reference cycle keeps the threads of the group alive
            dist.destroy_process_group()  # threads of a live group sometimes abort the exit
    except KeyboardInterrupt:
        sys.exit(f'\nInterrupted. {if_interrupted}'.rstrip())
    except Exception as e:
        message = _reworded(e) or why_unreadable(e) or (_with_owner(e) if isinstance(e, EXPECTED) else None)
        if message is None or os.environ.get('LTMM_TRACEBACK'):
            raise
        sys.exit(f'{type(e).__name__}: {message}')


def _with_owner(error: Exception) -> str:
    """Prefix the message with the ltmm class that raised the error, as in ``'SeesawLoss: Expected ...'``."""
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:  # PyTorch's text for an error in a worker
        return re.split(rf'\n(?:\w+\.)*{type(error).__name__}: ', text)[-1].rstrip()
    selves = [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
    owners = [''] + [type(self).__name__ for self in selves if type(self).__module__.startswith('ltmm.')]
    return text if owners[-1] in text else f'{owners[-1]}: {text}'


def _reworded(error: Exception) -> str | None:
    """Reword MMEngine's error about an unknown type or argument in a config, with suggestions; None for all others."""
    text = str(error.args[0]) if error.args else ''
    parents = [value for value in vars(root).values() if isinstance(value, Registry)]
    registries = [registry for parent in parents for registry in (parent, *parent.children.values())]
    if isinstance(error, KeyError) and (match := re.match(r'(\S+) is not in the \S*::(.+?) registry', text)):
        name, kind = match.groups()
        names = [
            key if registry.scope == 'mmengine' else f'{registry.scope}.{key}'
            for registry in registries
            if registry.name == kind
            for key in registry.module_dict
        ]
        return f'There is no {kind} called {name!r}.{did_you_mean(name, names)}'
    pattern = r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'"
    if isinstance(error, TypeError) and (match := re.search(pattern, text)):
        owner, name = match.groups()
        classes = [registry.module_dict[owner] for registry in registries if owner in registry.module_dict]
        arguments = [
            argument
            for cls in classes
            for base in inspect.getmro(cls)
            for argument in inspect.signature(base.__init__).parameters
            if argument != name  # an argument of a base class that this class does not pass on
        ]
        return f'{owner} has no argument {name!r}.{did_you_mean(name, arguments)}'
    return None
