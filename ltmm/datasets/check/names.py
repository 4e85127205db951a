"""Names of classes and files that are worth a look."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from .finding import NOTE, WARNING, Finding
from .parts import Part

__all__ = ['class_name_findings', 'file_name_findings', 'similar_names']


def class_name_findings(part: Part) -> Iterable[Finding]:
    names = part.table.class_names or ()
    pairs = similar_names(names)
    if pairs:
        yield Finding(WARNING, f'{len(pairs)} pairs of class names are nearly equal. One class, written twice?',
                      [f'{a!r} and {b!r}' for a, b in pairs])  # fmt: skip
    padded = [repr(name) for name in names if name != name.strip()]
    if padded:
        yield Finding(WARNING, f'{len(padded)} class names begin or end with a blank.', padded)


def similar_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs that differ in case, signs, a plural s, or, of six letters and more, in one letter."""
    keys = defaultdict(set)
    for i, name in enumerate(names):
        plain = re.sub(r'[\W_]', '', name.lower())
        if not plain:
            continue
        variants = {plain, plain.removesuffix('s')} if len(plain) > 3 and not plain.isdecimal() else {plain}
        if len(plain) >= 6 and plain.isalpha():
            variants |= {f'{plain[:k]}*{plain[k + 1 :]}' for k in range(len(plain))}
        for variant in variants:
            keys[variant].add(i)
    pairs = {(a, b) for group in keys.values() if 1 < len(group) < 10 for a in group for b in group if a < b}
    return [(names[a], names[b]) for a, b in sorted(pairs)]


def file_name_findings(parts: Sequence[Part]) -> Iterable[Finding]:
    paths = list(dict.fromkeys(path for part in parts for path in part.paths))
    lower = Counter(path.lower() for path in paths)
    case = [path for path in paths if lower[path.lower()] > 1]
    if case:
        yield Finding(
            WARNING, f'{len(case)} image paths differ in case only: they are one file on Windows and macOS.', case
        )
    odd = [path for path in paths if not os.path.basename(path).isascii() or ' ' in os.path.basename(path)]
    if odd:
        yield Finding(NOTE, f'{len(odd)} image names hold blanks or letters beyond ASCII. They work here; archives and '
                      'other systems may change them.', odd)  # fmt: skip
