"""Validation of masks. pycocotools does not check its input and hangs on some invalid masks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ['find_invalid_mask', 'may_exceed_limit']

MAX_COORDINATE = 1e6  # pixels; pycocotools hangs on polygons with much larger coordinates
MAX_CHARACTERS = 7  # of a compressed run length, which has 32 bits
BLOCK = 4096  # compressed masks decoded at a time


def find_invalid_mask(masks: Sequence[Any], sizes: Sequence[Sequence[int]]) -> tuple[int, str] | None:
    """Return the index of the first invalid mask and its problem, or None.

    Args:
        masks: K masks: lists of polygons, or run-length codes, compressed or not.
        sizes: (height, width) of the image of each mask, (K, 2).
    """
    codes, problem = [], None
    for i, (mask, size) in enumerate(zip(masks, sizes)):
        is_polygons = isinstance(mask, list)
        problem = _problem_of_polygons(mask) if is_polygons else _problem_of_code(mask, size)
        if problem:
            break
        if not is_polygons:
            codes.append(i)
    return _first_wrong_sum(masks, sizes, codes) or (problem and (i, problem))


def may_exceed_limit(text: bytes) -> bool:
    """Return whether a number in the text may reach ``MAX_COORDINATE``, that is, has seven digits before the point.

    A hundred times as fast as parsing it. The text consists of digits, signs, points, commas, brackets and space.
    """
    characters = np.frombuffer(b' ' + text, np.uint8)
    digit = characters - ord('0') < 10  # uint8: characters before '0' wrap around
    run = digit[1:]
    for step in (1, 2, 3):
        run = run[:-step] & run[step:]  # of 2, 4 and 7 digits
    starts = ~digit[: len(run)] & (characters[: len(run)] != ord('.'))
    return bool((run & starts).any())


def _problem_of_polygons(polygons: list) -> str | None:
    for polygon in polygons:
        try:
            is_valid = math.isfinite(sum(polygon)) and -MAX_COORDINATE < min(polygon, default=0)
            is_valid = is_valid and max(polygon, default=0) < MAX_COORDINATE
        except (TypeError, OverflowError):  # not a list, or not of numbers; an integer of hundreds of digits
            is_valid = False
        if not is_valid:
            return f'has a polygon that is not a list of finite numbers below {MAX_COORDINATE:.0f}'
    return None


def _problem_of_code(mask: Any, size: Sequence[int]) -> str | None:
    """Check everything but the sum of the run lengths."""
    counts = mask.get('counts') if isinstance(mask, Mapping) else None
    if not isinstance(counts, (list, str, bytes)):
        return 'is neither a list of polygons nor a run-length code, a dictionary of `size` and `counts`'
    own = mask.get('size')
    is_size = isinstance(own, (list, tuple)) and all(isinstance(n, (int, np.integer)) for n in own)
    if not is_size or list(own) != list(size):
        return f'has the size {own}, but its image {list(size)} (height, width)'
    if isinstance(counts, list) and not all(isinstance(n, int) and n >= 0 for n in counts):
        return 'has run lengths that are not integers >= 0'
    return None


def _first_wrong_sum(masks: Sequence[Mapping], sizes: Sequence[Sequence[int]], rows: list[int]) -> tuple | None:
    """Return the first of ``rows`` whose run lengths do not add up to the size of its image, and the problem."""
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        sums = _pixels([masks[i]['counts'] for i in block])
        expected = np.array([sizes[i] for i in block]).prod(1)
        wrong = np.flatnonzero(sums != expected)
        if len(wrong):
            i, got = block[wrong[0]], sums[wrong[0]]
            problem = (
                'that cannot be decoded' if got < 0 else f'of {got} pixels in total, but its image {expected[wrong[0]]}'
            )
            return i, f'has run lengths {problem}'
    return None


def _pixels(counts: Sequence[list[int] | str | bytes]) -> np.ndarray:
    """Add up the run lengths of each mask, (K,); -1 if they cannot be decoded."""
    pixels = np.array([sum(code) if isinstance(code, list) else -1 for code in counts])
    compressed = [i for i, code in enumerate(counts) if not isinstance(code, list)]
    codes = [code.encode() if isinstance(code, str) else code for code in (counts[i] for i in compressed)]
    pixels[compressed] = _compressed_pixels(codes)
    return pixels


def _compressed_pixels(codes: Sequence[bytes]) -> np.ndarray:
    """Add up the run lengths of each compressed code, (K,); -1 if it cannot be decoded.

    A number takes several characters, low bits first. A character is 48 plus 5 bits of the number, plus 32 if the
    number continues; the highest of the 5 bits of the last character is the sign. From the fourth number on, it is the
    difference to the run length two places before.
    """
    lengths = np.array([len(code) for code in codes], dtype=int)  # (K,)
    character = np.frombuffer(b''.join(codes), np.uint8).astype(np.int64) - 48  # (S,)
    code = np.repeat(np.arange(len(codes)), lengths)  # (S,)
    if not len(code):
        return np.zeros(len(codes), int)
    continues = (character & 32) > 0
    ends = np.flatnonzero(~continues | (np.diff(code, append=len(codes)) > 0))  # (M,), of M numbers
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(code)) - np.repeat(starts, ends - starts + 1)
    number = np.add.reduceat((character & 31) << 5 * place.clip(max=MAX_CHARACTERS), starts)
    number -= (character[ends] & 16) << 5 * place[ends].clip(max=MAX_CHARACTERS) + 1

    broken = np.zeros(len(codes), dtype=bool)
    broken[code[(character >> 6) != 0]] = True
    code_of, of_place = code[ends], place[ends]  # (M,)
    broken[code_of[continues[ends] | (of_place >= MAX_CHARACTERS)]] = True
    first = np.searchsorted(code_of, code_of)  # (M,), the first number of the same code
    index = np.arange(len(code_of)) - first
    run = number
    for parity in (0, 1):
        chained = (index % 2 == parity) & (index > 0)
        total = np.cumsum(np.where(chained, number, 0))
        run = np.where(chained, total - total[first], run)
    broken[code_of[run < 0]] = True
    pixels = np.bincount(code_of, run, minlength=len(codes)).astype(int)
    return np.where(broken, -1, pixels)
