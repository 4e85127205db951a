"""A finding on the data of a config."""

from dataclasses import dataclass, field

__all__ = ['ERROR', 'NOTE', 'WARNING', 'Finding']

ERROR, WARNING, NOTE = 'error', 'warning', 'note'


@dataclass
class Finding:
    """A finding.

    Args:
        level: ``'error'`` (the result would be wrong, or the run stops), ``'warning'`` or ``'note'``.
        text: One sentence, which says what to do.
        examples: Images or classes.
    """

    level: str
    text: str
    examples: list[str] = field(default_factory=list)
