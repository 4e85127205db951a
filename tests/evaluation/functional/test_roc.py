import numpy as np
import pytest

from ltmm.evaluation.functional import auroc


@pytest.mark.parametrize('values', [3, 1000])  # many ties, few
def test_share_of_ordered_pairs(values):
    rng = np.random.default_rng(0)
    score, positive = rng.integers(values, size=60), rng.random(60) < 0.3
    pairs = score[positive][:, None] - score[~positive]
    assert auroc(score, positive) == pytest.approx((np.sign(pairs) / 2 + 0.5).mean())


def test_perfect_chance_and_reversed():
    positive = np.array([True, True, False])
    assert [auroc(s, positive) for s in ([3.0, 2, 1], [1.0, 1, 1], [1.0, 2, 3])] == [1, 0.5, 0]


@pytest.mark.parametrize('positive', [[True, True], [False, False], []])
def test_one_kind_only(positive):
    assert np.isnan(auroc(np.zeros(len(positive)), np.array(positive, dtype=bool)))
