import math

import numpy as np
import pytest
from scipy import stats

from ltmm.experiments.comparison import compare, holm

VALUES = dict(
    base={0: 50.0, 1: 52.0, 2: 51.0, 3: 40.0},
    good={0: 54.0, 1: 55.5, 2: 55.0},
    other={2: 51.5, 1: 51.0, 0: 50.5, 9: 99.0},
    fast={0: 60.0},
    same={0: 51.0, 1: 53.0, 2: 52.0},
    apart={7: 1.0},
)


def test_paired_t_test_over_common_seeds():
    found = compare(VALUES, 'base')
    for name in ('good', 'other'):
        own, base = np.array([[VALUES[name][seed], VALUES['base'][seed]] for seed in (0, 1, 2)]).T
        expected = stats.ttest_rel(own, base)
        interval = expected.confidence_interval(0.95)
        one = found[name]
        assert one.num_pairs == 3 and one.difference == pytest.approx((own - base).mean())
        assert (one.p, one.low, one.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
    good = found['good']  # differences 4, 3.5, 4 by hand: mean 23/6, standard error sqrt(1/12)/sqrt(3)
    assert good.difference == pytest.approx(23 / 6)
    assert good.high - good.difference == pytest.approx(4.302652729911275 * math.sqrt(1 / 12) / math.sqrt(3))
    assert good.p_holm == pytest.approx(2 * good.p) and found['other'].p_holm == found['other'].p


def test_what_cannot_be_tested():
    found = compare(VALUES, 'base')
    assert 'apart' not in found and 'base' not in found
    assert (found['fast'].num_pairs, found['fast'].difference) == (1, 10.0) and math.isnan(found['fast'].p)
    assert found['same'].difference == 1.0 and math.isnan(found['same'].p)  # no spread, no test
    assert math.isnan(found['same'].p_holm)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm 1979, by hand
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
