"""Errors that are the input's, not the code's."""

__all__ = ['InputError']


class InputError(ValueError):
    """What was given cannot be what it is said to be; the tools show the message without a traceback."""
