"""Masks of annotations and detections, looked at before pycocotools: it reads some wrong ones without end."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ['first_fault']

MAX_COORDINATE = 1e6  # pixels; far beyond, pycocotools draws a polygon for ever
MAX_CHARACTERS = 7  # of a packed run length, which has 32 bits
BLOCK = 4096  # packed masks that are decoded at a time


def first_fault(masks: Sequence[Any], sizes: Sequence[Sequence[int]]) -> tuple[int, str] | None:
    """The first mask that is no mask of its image, and what is wrong with it; None where there is none.

    Args:
        masks: K of them: lists of polygons, or run-length codes as numbers or packed.
        sizes: height and width of the image of each, (K, 2).
    """
    coded, fault = [], None
    for i, (mask, size) in enumerate(zip(masks, sizes)):
        is_polygons = isinstance(mask, list)
        fault = _fault_of_polygons(mask) if is_polygons else _fault_of_code(mask, size)
        if fault:
            break
        if not is_polygons:
            coded.append(i)
    return _first_wrong_sum(masks, sizes, coded) or (fault and (i, fault))


def _fault_of_polygons(mask: list) -> str | None:
    """What is wrong with a list of polygons."""
    for polygon in mask:
        try:
            fits = math.isfinite(sum(polygon)) and -MAX_COORDINATE < min(polygon, default=0)
            fits = fits and max(polygon, default=0) < MAX_COORDINATE
        except TypeError:  # no list, or not of numbers
            fits = False
        if not fits:
            return f'has a polygon that is no list of finite numbers below {MAX_COORDINATE:.0f}'
    return None


def _fault_of_code(mask: Any, size: Sequence[int]) -> str | None:
    """What is wrong with a run-length code, but for its sum."""
    counts = mask.get('counts') if isinstance(mask, Mapping) else None
    if not isinstance(counts, (list, str, bytes)):
        return 'is neither a list of polygons nor a run-length code, a dictionary of `size` and `counts`'
    own = mask.get('size')
    is_size = isinstance(own, (list, tuple)) and all(isinstance(n, (int, np.integer)) for n in own)
    if not is_size or list(own) != list(size):
        return f'has the size {own}, but its image {list(size)} (height, width)'
    if isinstance(counts, list) and not all(isinstance(n, int) and n >= 0 for n in counts):
        return 'has run lengths that are no whole numbers of at least 0'
    return None


def _first_wrong_sum(masks: Sequence[Mapping], sizes: Sequence[Sequence[int]], rows: list[int]) -> tuple | None:
    """The first of ``rows`` whose run lengths are not as many pixels as its image has."""
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        sums = _pixels([masks[i]['counts'] for i in block])
        expected = np.array([sizes[i] for i in block]).prod(1)
        wrong = np.flatnonzero(sums != expected)
        if len(wrong):
            i, got = block[wrong[0]], sums[wrong[0]]
            what = 'that cannot be decoded' if got < 0 else f'of {got} pixels in all'
            return i, f'has run lengths {what}, but its image {expected[wrong[0]]}: it is cut off, or of another image'
    return None


def _pixels(counts: Sequence[list[int] | str | bytes]) -> np.ndarray:
    """Sum of the run lengths of each mask, (K,); -1 where they cannot be decoded."""
    pixels = np.array([sum(code) if isinstance(code, list) else -1 for code in counts])
    packed = [i for i, code in enumerate(counts) if not isinstance(code, list)]
    codes = [code.encode() if isinstance(code, str) else code for code in (counts[i] for i in packed)]
    pixels[packed] = _packed_pixels(codes)
    return pixels


def _packed_pixels(codes: Sequence[bytes]) -> np.ndarray:
    """Sum of the run lengths of each packed code, (K,); -1 where it cannot be decoded.

    A character is 48 more than 5 bits of a number, low bits first, and 32 more again where the number goes on; the
    highest bit of its last character is its sign. From the fourth on, a number is what its run length is longer than
    the run length two places before.
    """
    lengths = np.array([len(code) for code in codes], dtype=int)  # (K,)
    character = np.frombuffer(b''.join(codes), np.uint8).astype(np.int64) - 48  # (S,)
    code = np.repeat(np.arange(len(codes)), lengths)  # (S,)
    if not len(code):
        return np.zeros(len(codes), int)
    goes_on = (character & 32) > 0
    ends = np.flatnonzero(~goes_on | (np.diff(code, append=len(codes)) > 0))  # (M,), of M numbers
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(code)) - np.repeat(starts, ends - starts + 1)
    number = np.add.reduceat((character & 31) << 5 * place.clip(max=MAX_CHARACTERS), starts)
    number -= (character[ends] & 16) << 5 * place[ends].clip(max=MAX_CHARACTERS) + 1

    broken = np.zeros(len(codes), dtype=bool)
    broken[code[(character >> 6) != 0]] = True
    code_of, of_place = code[ends], place[ends]  # (M,)
    broken[code_of[goes_on[ends] | (of_place >= MAX_CHARACTERS)]] = True
    first = np.searchsorted(code_of, code_of)  # (M,), first number of the same code
    index = np.arange(len(code_of)) - first
    run = number
    for parity in (0, 1):
        chained = (index % 2 == parity) & (index > 0)
        total = np.cumsum(np.where(chained, number, 0))
        run = np.where(chained, total - total[first], run)
    broken[code_of[run < 0]] = True
    pixels = np.bincount(code_of, run, minlength=len(codes)).astype(int)
    return np.where(broken, -1, pixels)
