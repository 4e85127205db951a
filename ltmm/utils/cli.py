"""How the command-line tools end: in one line for an error in the input, with a traceback for a bug."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import InputError

__all__ = ['one_line_errors']


@contextmanager
def one_line_errors(if_interrupted: str = '') -> Iterator[None]:
    """Exit with one line instead of a traceback after an error in the input; ``LTMM_TRACEBACK=1`` shows the traceback.

    Args:
        if_interrupted: What to do after Ctrl-C.
    """
    try:
        yield
        dist = sys.modules.get('torch.distributed')  # a tool that has not imported torch has no group
        if dist is not None and dist.is_available() and dist.is_initialized():
            gc.collect()  # a distributed model in a reference cycle keeps the threads of the group alive
            dist.destroy_process_group()  # threads of a live group sometimes abort the exit
    except KeyboardInterrupt:
        sys.exit(f'\nInterrupted. {if_interrupted}'.rstrip())
    except Exception as e:
        line = _line(e)
        if line is None or os.environ.get('LTMM_TRACEBACK'):
            raise
        sys.exit(f'\n\033[1;31m{line}\033[0m' if sys.stderr.isatty() else line)


def _line(error: Exception) -> str | None:
    """One line on an error in the input, None for a bug; without torch, for errors of ltmm and of files only."""
    try:
        from .explain import explain
    except ModuleNotFoundError:
        return str(error) if isinstance(error, (InputError, OSError)) else None
    return explain(error)
