import re

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from ltmm.datasets.labels.lvis_masks import find_invalid_mask, may_exceed_limit

RNG = np.random.default_rng(0)
SIZE = [9, 7]
GOOD = dict(size=SIZE, counts=[10, 20, 33])
COMPRESSED = mask_utils.frPyObjects(GOOD, *SIZE)['counts']  # the last number has two characters
POLYGONS = [[1, 1, 5, 1, 5, 5]]


def random_codes(num):
    """Return codes of random masks, and their sizes."""
    codes, sizes = [], []
    for height, width in RNG.integers(1, 40, (num, 2)).tolist():
        mask = RNG.random((height, width)) < RNG.choice([0, 0.02, 0.5, 0.98, 1])
        codes.append(mask_utils.encode(np.asfortranarray(mask, np.uint8)))
        sizes.append([height, width])
    return codes, sizes


def runs_of(code):
    """Decode run lengths character by character; None if invalid."""
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


def test_valid_masks(monkeypatch):
    codes, sizes = random_codes(500)
    for block in (4096, 7):
        monkeypatch.setattr('ltmm.datasets.labels.lvis_masks.BLOCK', block)
        assert find_invalid_mask(codes, sizes) is None
    as_text = [dict(code, counts=code['counts'].decode()) for code in codes]
    assert find_invalid_mask(as_text, sizes) is None
    assert find_invalid_mask([dict(code, counts=runs_of(code['counts'])) for code in codes], sizes) is None
    assert find_invalid_mask([POLYGONS, GOOD, POLYGONS], [SIZE] * 3) is None
    assert find_invalid_mask([], []) is None


def test_huge_numbers():
    for mask in ([[10**400, 1, 2, 3]], dict(size=SIZE, counts=[10**400]), dict(GOOD, size=[10**400, 7])):
        assert find_invalid_mask([mask], [SIZE])[0] == 0


def test_damaged_codes():
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
    found = [find_invalid_mask([code], [size]) is not None for code, size in zip(codes, sizes)]
    assert found == is_wrong
    assert find_invalid_mask(codes, sizes)[0] == is_wrong.index(True)


@pytest.mark.parametrize(
    'mask, problem',
    [
        (dict(GOOD, counts=[10, 20]), 'of 30 pixels in total, but its image 63'),
        (dict(GOOD, counts=[10, 20, 34]), 'of 64 pixels'),
        (dict(GOOD, counts=[]), 'of 0 pixels'),
        (dict(GOOD, counts=''), 'of 0 pixels'),
        (dict(GOOD, counts=COMPRESSED[:-2]), 'of 30 pixels'),
        (dict(GOOD, counts=COMPRESSED[:-1]), 'cannot be decoded'),
        (dict(GOOD, counts=b'ooo'), 'cannot be decoded'),
        (dict(GOOD, counts='é'), 'cannot be decoded'),
        (dict(GOOD, counts=[-10, 73]), 'not integers'),
        (dict(GOOD, counts=[10.5, 52.5]), 'not integers'),
        (dict(GOOD, counts=['10', 53]), 'not integers'),
        (dict(size=[7, 9], counts=COMPRESSED), r'size \[7, 9\], but its image \[9, 7\]'),
        (dict(size=9, counts=COMPRESSED), 'size 9'),
        (dict(size=[9.0, 7.0], counts=COMPRESSED), r'size \[9.0, 7.0\]'),
        (dict(counts=COMPRESSED), 'size None'),
        (dict(size=SIZE), 'neither'),
        ('mask.png', 'neither'),
        (None, 'neither'),
        ([[1, 1, 5, float('nan'), 5, 5]], 'polygon'),
        ([[1, 1, float('-inf'), 1, 5, 5]], 'polygon'),
        ([[1, 1, 2e9, 1, 5, 5]], 'polygon'),
        ([[1, 1, '5', 1, 5, 5]], 'polygon'),
        ([1, 1, 5, 1, 5, 5], 'polygon'),
    ],
)
def test_invalid_masks(mask, problem):
    i, text = find_invalid_mask([GOOD, POLYGONS, mask, dict(GOOD, counts=[1])], [SIZE] * 4)
    assert i == 2 and re.search(problem, text), text


@pytest.mark.parametrize('text', ['', '[[]]', '[[1,999999]]', '[[-999999.1234567,2]]', '[[0.12345678,\n123456]][[7]]'])
def test_small_polygons(text):
    assert not may_exceed_limit(text.encode())


@pytest.mark.parametrize('text', ['1000000', '[[1,-1000000.5]]', '[[1.5,12345678]]', '[[0.1234567]][[ 1234567,1]]'])
def test_large_polygons(text):
    assert may_exceed_limit(text.encode())
