import numpy as np
import pytest

from ltmm.utils.checks import check


@pytest.mark.parametrize(
    'value, condition',
    [
        (0, '>= 0'),
        (0.5, 'in (0, 1)'),
        ((0.5, 2), '> 0'),
        (np.array([1, 2]), 'int >= 1'),
        (None, 'int >= 0 or None'),
        (3, 'int >= 0 or None'),
        ('mean', ('mean', 'sum')),
        (-3.0, 'finite'),
        ((0.5, 2), 'a list of numbers > 0'),
        ([1, 2], 'a list of finite numbers'),
        (None, 'a list of int >= 1 or None'),
        ('stage 1.x', 'a file name'),
    ],
)
def test_check_passes(value, condition):
    check(x=(value, condition))


@pytest.mark.parametrize(
    'value, condition',
    [
        (-1, '>= 0'),
        (float('nan'), '>= 0'),
        (float('inf'), '> 0'),
        (1, 'in [0, 1)'),
        ((0.5, 0), '> 0'),
        ((), '> 0'),
        ([[1], [1, 2]], '> 0'),
        (1.0, 'a list of numbers > 0'),
        ([[1, 2], [3, 4]], 'a list of numbers > 0'),
        ((), 'a list of numbers > 0'),
        ((0.5, 0), 'a list of numbers > 0'),
        ((0.5, 1), 'a list of int >= 0'),
        (1.0, 'int >= 0'),
        (1, 'int >= 2'),
        (True, 'int >= 0'),
        (None, '>= 0'),
        ('1', '>= 0'),
        ('avg', ('mean', 'sum')),
        ('../up', 'a file name'),
        ('a/b', 'a file name'),
        ('..', 'a file name'),
        ('', 'a file name'),
        ('a\0b', 'a file name'),
        (3, 'a file name'),
    ],
)
def test_check_names_the_argument(value, condition):
    with pytest.raises(ValueError, match=r'Expected `x` to be .*, but got '):
        check(x=(value, condition))
