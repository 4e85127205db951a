"""Reader of annotation files block by block, in memory that does not grow with the file."""

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ['iterate_blocks']

BLOCK = 1 << 19  # bytes
MAX_VALUE = 1 << 22  # bytes of a value that is skipped
MAX_CUTS = 8
SPACE = re.compile(rb'[ \t\r\n]*')
KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')
BETWEEN = re.compile(rb'\}[ \t\r\n]*,[ \t\r\n]*\{')
LAST = re.compile(rb'\}[ \t\r\n]*\][ \t\r\n]*(?:,[ \t\r\n]*"|\}[ \t\r\n]*\Z)')
# The negative look-behind leaves alone a key that ends in this word, '...\"segmentation'.
POLYGONS = re.compile(
    rb'"segmentation"(?<!\\"segmentation")\s*:\s*(\[\s*\[[-0-9., \t\r\n]*\](?:\s*,\s*\[[-0-9., \t\r\n]*\])*\s*\])'
)
CUT = 'ltmm: polygons'  # key in place of theirs


def iterate_blocks(path: str | Path, block: int = BLOCK) -> Iterator[tuple[str, list[dict]]]:
    """Read the lists of dictionaries in a json dictionary: yields (key, some of its items), in the order of the file.

    A block ends where ``}, {`` or ``}]`` stands and the text up to there is valid json; as json is read from left to
    right, no such place lies inside an item or a text. Values of other types are skipped. Polygons, nearly all of a
    file, are not parsed: a ``segmentation`` of lists of numbers is its text, as bytes.

    Args:
        path: Path of the file.
        block: Bytes per block. An item that is longer is read whole.

    Raises:
        ValueError: The file is not complete json, or its items nest so that no block ends where expected.
    """
    with open(path, 'rb') as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # empty
            raise ValueError('the file is empty') from None
        with data:
            yield from _iterate(data, block)


def _iterate(data: mmap.mmap, block: int) -> Iterator[tuple[str, list[dict]]]:
    import orjson

    place = _expect(data, 0, b'{')
    while True:
        key = KEY.match(data, place)
        if key is None:
            raise ValueError(f'expected a key at byte {place}')
        name, place = orjson.loads(key[1]), key.end()
        start = SPACE.match(data, place + 1).end()
        if data[place : place + 1] == b'[' and data[start : start + 1] == b'{':
            place = start
            is_last = False
            while not is_last:
                items, place, is_last = _next_items(data, place, block)
                yield name, items
                if hasattr(mmap, 'MADV_DONTNEED'):
                    data.madvise(mmap.MADV_DONTNEED)  # pages that were read do not add up
            place = _expect(data, place, b']')
        else:
            place = _skip(data, place)
        place = SPACE.match(data, place).end()
        if data[place : place + 1] == b'}':
            if SPACE.match(data, place + 1).end() != len(data):
                raise ValueError(f'unexpected text after byte {place}')
            return
        place = _expect(data, place, b',')


def _next_items(data: mmap.mmap, place: int, block: int) -> tuple[list[dict], int, bool]:
    """Return the items that start at ``place``, the place after them, and whether they are the last of their list."""
    while True:
        window = data[place : place + block]
        tail = len(window) - len(window) // 16
        last = [m.start() + 1 for m, _ in zip(LAST.finditer(window), range(MAX_CUTS))]
        cuts = [m.start() + 1 for m in BETWEEN.finditer(window, tail)] or [
            m.start() + 1 for m in BETWEEN.finditer(window)
        ]
        for cut, is_last in [*((cut, True) for cut in last), *((cut, False) for cut in cuts[: -MAX_CUTS - 1 : -1])]:
            items = _parse(window, cut)
            if items is not None:
                end = place + cut
                return items, end if is_last else BETWEEN.match(data, end - 1).end() - 1, is_last
        if place + block >= len(data):
            raise ValueError(f'expected the end of a list after byte {place}')
        block *= 2


def _parse(window: bytes, cut: int) -> list[dict] | None:
    import orjson

    text = b'[' + window[:cut] + b']'
    pieces = POLYGONS.split(text)  # others, polygons, others, ...
    polygons = pieces[1::2]
    try:
        items = orjson.loads(f'"{CUT}":0'.encode().join(pieces[::2]))
        owners = [item for item in items if isinstance(item, dict) and item.pop(CUT, None) == 0]
        if len(owners) != len(polygons):  # some are inside another field
            return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    for item, own in zip(owners, polygons):
        item['segmentation'] = own
    return items


def _skip(data: mmap.mmap, place: int) -> int:
    """Return the place after a value that is not a list of dictionaries: a short one, such as ``info``."""
    text = data[place : place + MAX_VALUE].decode(errors='surrogateescape')
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        raise ValueError(f'expected a short value at byte {place}') from None
    return place + len(text[:end].encode(errors='surrogateescape'))


def _expect(data: mmap.mmap, place: int, character: bytes) -> int:
    place = SPACE.match(data, place).end()
    if data[place : place + 1] != character:
        raise ValueError(f'expected {character.decode()!r} at byte {place}')
    return place + 1


def slices(content: dict[str, Any], size: int = 10_000) -> Iterator[tuple[str, list[dict]]]:
    """Yield the lists of a file that was read whole, as :func:`iterate_blocks` does."""
    for key, items in content.items():
        if isinstance(items, list):
            for start in range(0, len(items), size):
                yield key, items[start : start + size]
