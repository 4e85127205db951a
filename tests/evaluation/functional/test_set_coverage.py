import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.evaluation.functional import set_coverage

SETS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
LABEL = np.array([0, 0, 0, 0, 1, 1])  # the last class has no samples


def test_figures():
    coverage = set_coverage(SETS, LABEL)
    np.testing.assert_array_equal(coverage.coverage, [3 / 4, 0, np.nan])
    np.testing.assert_array_equal(coverage.size, [7 / 4, 1 / 2, np.nan])
    shots = ClassDistribution([200, 50, 3]).shots()
    figures = coverage.figures(shots)
    groups = dict(many=0.75, medium=0, few=np.nan, size_many=1.75, size_medium=0.5, size_few=np.nan)
    expected = dict(marginal=0.5, macro=0.375, low=0.5, size=8 / 6, **groups)
    assert figures == pytest.approx(expected, nan_ok=True)
    assert list(coverage.figures()) == ['marginal', 'macro', 'low', 'size']


@pytest.mark.parametrize(('sets', 'label'), [(SETS.astype(int), LABEL), (SETS, LABEL[:5]), (SETS[:0], LABEL[:0])])
def test_other_input_is_refused(sets, label):
    with pytest.raises(ValueError, match=r'booleans \(N, C\) and N labels, at least one'):
        set_coverage(sets, label)
