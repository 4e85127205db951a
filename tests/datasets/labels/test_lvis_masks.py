import re

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from ltmm.datasets.labels.lvis_masks import first_fault

RNG = np.random.default_rng(0)
SIZE = [9, 7]
GOOD = dict(size=SIZE, counts=[10, 20, 33])
PACKED = mask_utils.frPyObjects(GOOD, *SIZE)['counts']  # the last number has two characters
POLYGONS = [[1, 1, 5, 1, 5, 5]]


def random_codes(num):
    """Codes of masks of all sizes and densities, and their sizes."""
    codes, sizes = [], []
    for height, width in RNG.integers(1, 40, (num, 2)).tolist():
        mask = RNG.random((height, width)) < RNG.choice([0, 0.02, 0.5, 0.98, 1])
        codes.append(mask_utils.encode(np.asfortranarray(mask, np.uint8)))
        sizes.append([height, width])
    return codes, sizes


def runs_of(code):
    """Run lengths of a packed code, character by character; None where it is none."""
    runs, value, shift = [], 0, 0
    for character in code:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16 > 0) << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            if runs[-1] < 0:
                return None
            value, shift = 0, 0
    return None if shift else runs


def test_what_pycocotools_packs_has_no_fault(monkeypatch):
    codes, sizes = random_codes(500)
    for block in (4096, 7):
        monkeypatch.setattr('ltmm.datasets.labels.lvis_masks.BLOCK', block)
        assert first_fault(codes, sizes) is None
    as_text = [dict(code, counts=code['counts'].decode()) for code in codes]
    assert first_fault(as_text, sizes) is None
    assert first_fault([dict(code, counts=runs_of(code['counts'])) for code in codes], sizes) is None
    assert first_fault([POLYGONS, GOOD, POLYGONS], [SIZE] * 3) is None
    assert first_fault([], []) is None


def test_damaged_codes_are_found_as_a_decoder_of_characters_finds_them():
    codes, sizes = random_codes(2000)
    is_wrong = []
    for code, (height, width) in zip(codes, sizes):
        text = bytearray(code['counts'])
        for place in RNG.integers(0, len(text), RNG.integers(0, 3)):
            text[place] = RNG.integers(40, 120)
        code['counts'] = bytes(text[: len(text) - RNG.integers(0, 2)])
        runs = runs_of(code['counts'])
        is_wrong.append(runs is None or sum(runs) != height * width)
    assert 0.3 < np.mean(is_wrong) < 0.9
    found = [first_fault([code], [size]) is not None for code, size in zip(codes, sizes)]
    assert found == is_wrong
    assert first_fault(codes, sizes)[0] == is_wrong.index(True)


@pytest.mark.parametrize(
    'mask, fault',
    [
        (dict(GOOD, counts=[10, 20]), 'run lengths of 30 pixels in all, but its image 63: it is cut off'),
        (dict(GOOD, counts=[10, 20, 34]), 'run lengths of 64 pixels in all'),
        (dict(GOOD, counts=[]), 'run lengths of 0 pixels in all'),
        (dict(GOOD, counts=''), 'run lengths of 0 pixels in all'),
        (dict(GOOD, counts=PACKED[:-2]), 'run lengths of 30 pixels in all'),
        (dict(GOOD, counts=PACKED[:-1]), 'run lengths that cannot be decoded'),
        (dict(GOOD, counts=b'ooo'), 'run lengths that cannot be decoded'),
        (dict(GOOD, counts='é'), 'run lengths that cannot be decoded'),
        (dict(GOOD, counts=[-10, 73]), 'run lengths that are no whole numbers of at least 0'),
        (dict(GOOD, counts=[10.5, 52.5]), 'run lengths that are no whole numbers'),
        (dict(GOOD, counts=['10', 53]), 'run lengths that are no whole numbers'),
        (dict(size=[7, 9], counts=PACKED), r'the size \[7, 9\], but its image \[9, 7\] \(height, width\)'),
        (dict(size=9, counts=PACKED), 'the size 9, but its image'),
        (dict(size=[9.0, 7.0], counts=PACKED), r'the size \[9.0, 7.0\], but its image'),
        (dict(counts=PACKED), 'the size None, but its image'),
        (dict(size=SIZE), 'neither a list of polygons nor a run-length code'),
        ('mask.png', 'neither a list of polygons nor a run-length code'),
        (None, 'neither a list of polygons nor a run-length code'),
        ([[1, 1, 5, float('nan'), 5, 5]], 'a polygon that is no list of finite numbers below 1000000'),
        ([[1, 1, float('-inf'), 1, 5, 5]], 'a polygon that is no list of finite numbers'),
        ([[1, 1, 2e9, 1, 5, 5]], 'a polygon that is no list of finite numbers below 1000000'),
        ([[1, 1, '5', 1, 5, 5]], 'a polygon that is no list of finite numbers'),
        ([1, 1, 5, 1, 5, 5], 'a polygon that is no list of finite numbers'),
    ],
)
def test_the_first_fault_is_named(mask, fault):
    i, text = first_fault([GOOD, POLYGONS, mask, dict(GOOD, counts=[1])], [SIZE] * 4)
    assert i == 2 and re.search(fault, text), text
