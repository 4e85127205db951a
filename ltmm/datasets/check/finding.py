"""A finding on the data of a config."""

import re
from dataclasses import dataclass, field

__all__ = ['ERROR', 'NOTE', 'WARNING', 'Finding', 'singular']

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
NOUNS = {
    'images': 'image', 'classes': 'class', 'pictures': 'picture', 'image names': 'image name',
    'class names': 'class name', 'pairs of class names': 'pair of class names',
}  # fmt: skip
VERBS = {
    'are copies of others': 'is a copy of another', 'begin or end': 'begins or ends', 'are': 'is', 'have': 'has',
    'hold': 'holds', 'look': 'looks', 'occur': 'occurs', 'reach': 'reaches',
}  # fmt: skip
ONE = re.compile(rf'\b1 (?:({"|".join(NOUNS)})|(of [\d,]+ (?:\w+ )?(?:images|classes|boxes))) ({"|".join(VERBS)})\b')


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

    def __post_init__(self) -> None:
        self.text = singular(self.text)


def singular(text: str) -> str:
    """Turn what is said of 1 thing into the singular: ``1 images are``, ``1 of 3 classes have``."""
    return ONE.sub(lambda match: f'1 {match[2] or NOUNS[match[1]]} {VERBS[match[3]]}', text)
