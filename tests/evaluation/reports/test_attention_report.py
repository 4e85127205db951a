import numpy as np
import pytest

from ltmm.evaluation.reports import attention_rows, attention_summary
from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots

SHOTS = Shots(*(np.array(mask, bool) for mask in ([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1])))
LABEL = np.array([0, 0, 2, 3, 3])


def test_equals_the_definition():
    rng = np.random.default_rng(0)
    weights, change = rng.dirichlet(np.ones(6), 5).reshape(5, 2, 3), rng.uniform(size=5)
    mean = weights.mean(axis=0)
    positions = [np.exp(-sum(a * np.log(a) for a in w.flat)) for w in weights]
    own = [100 * sum(max(a - m, 0) for a, m in zip(w.flat, mean.flat)) for w in weights]  # what is more than the mean
    rows = attention_rows(weights, change, LABEL, SHOTS)
    assert [(row['group'], row['images']) for row in rows] == [('all', 5), ('many', 2), ('few', 3)]
    for row, part in zip(rows, (slice(0, 5), slice(0, 2), slice(2, 5))):
        for key, values in dict(positions=positions, own=own, change=change).items():
            assert row[key] == pytest.approx(np.mean(values[part]))
    assert 'positions of 6' in attention_summary(rows, 6).splitlines()[0]


def test_even_and_sharp_attention():
    even = attention_rows(np.full((5, 2, 2), 0.25), np.zeros(5), LABEL, SHOTS)[0]
    assert (even['positions'], even['own'], even['change']) == pytest.approx((4, 0, 0))
    one = np.zeros((5, 2, 2))
    one[:, 1, 0] = 1
    same = attention_rows(one, np.zeros(5), LABEL, SHOTS)[0]
    assert (same['positions'], same['own']) == pytest.approx((1, 0))
    moving = np.eye(4)[[0, 1, 2, 3]].reshape(4, 2, 2)
    assert attention_rows(moving, np.zeros(4), LABEL[:4], SHOTS)[0]['own'] == pytest.approx(75)


@pytest.mark.parametrize('value', [0.3, np.nan])
def test_no_attention(value):
    with pytest.raises(InputError, match='sum to 1'):
        attention_rows(np.full((5, 2, 2), value), np.zeros(5), LABEL, SHOTS)
