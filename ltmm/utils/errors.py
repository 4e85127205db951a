"""Errors in the input: a config, a file, a command. The tools end with their message in place of a traceback."""

import difflib
from collections.abc import Iterable

__all__ = ['InputError', 'InputTypeError', 'MissingInputError', 'did_you_mean']


class InputError(ValueError):
    """The input is invalid; the base of all errors that a user can correct without reading the code."""


class InputTypeError(InputError, TypeError):
    """The input is of the wrong type, such as a detector where a classifier is needed."""


class MissingInputError(InputError, RuntimeError):
    """Something that the config has to provide, such as the class distribution, is missing at run time."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``' Did you mean a or b?'`` for the candidates similar to ``name``; an empty string if there are none."""
    name, lower = name.lower(), {candidate.lower(): candidate for candidate in candidates}
    swapped = [other for other in lower if sorted(other) == sorted(name)]  # difflib finds tua unlike tau
    matches = dict.fromkeys([*swapped, *difflib.get_close_matches(name, lower, n=3, cutoff=0.75)])
    similar = [lower[match] for match in matches][:3]
    return f' Did you mean {" or ".join(similar)}?' if similar else ''
