import numpy as np
import pytest

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.samplers.class_members import ClassMembers, _stable_argsort, permutation

LABELS = [0, 2, 0, 1, 2, 0, 0, 2]  # class 3 has no member


@pytest.fixture
def members() -> ClassMembers:
    return ClassMembers.from_table(LabelTable.from_labels(LABELS, 4))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_members():
    table = LabelTable.from_lists([[2, 0, 2], [], [0], [1, 2]], 4)
    members = ClassMembers.from_table(table)
    assert members.samples.tolist() == [0, 2, 3, 0, 3]
    assert members.counts.tolist() == [2, 1, 2, 0]


def test_draw_is_even(members, rng):
    for num_draws in ([0, 5, 2, 0], [4, 0, 3, 0], [11, 1, 7, 0]):
        draws = members.draw(np.array(num_draws), rng)
        times = np.bincount(draws, minlength=len(LABELS))
        for c in range(3):
            of_class = times[np.array(LABELS) == c]
            assert of_class.sum() == num_draws[c]
            assert np.ptp(of_class) <= 1


def test_draw_remainder_is_random(members, rng):
    times = sum(np.bincount(members.draw(np.array([5, 0, 0, 0]), rng), minlength=8) for _ in range(2000))
    expected = 2000 * 5 / 4
    assert (np.abs(times[np.array(LABELS) == 0] - expected) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


def test_cycles_are_permutations(members, rng):
    members = ClassMembers(members.samples, members.counts[:3])
    draws = members.cycles(26, rng)
    assert draws.shape == (3, 26)
    for c, of_class in enumerate(draws):
        size = members.counts[c]
        own = sorted(np.flatnonzero(np.array(LABELS) == c))
        cycles = [of_class[i : i + size] for i in range(0, 26, size)]
        assert all(sorted(cycle) == own for cycle in cycles[:-1])
        assert len(set(cycles[-1])) == len(cycles[-1])
        assert size == 1 or len({tuple(cycle) for cycle in cycles}) > 1


def test_cycle_orders_are_uniform(rng):
    members = ClassMembers.from_table(LabelTable.from_labels([0, 0, 0, 1, 1], 2))
    orders, counts = np.unique(members.cycles(3 * 4000, rng)[0].reshape(-1, 3), axis=0, return_counts=True)
    assert len(orders) == 6
    assert (np.abs(counts - 4000 / 6) < 5 * np.sqrt(4000 / 6)).all()


def test_stable_argsort(rng):
    for dtype, limit in ((np.uint8, 200), (np.uint16, 2**16), (np.uint32, 2**20), (np.uint32, 2**32)):
        keys = rng.integers(0, limit, 5000, dtype=dtype)
        np.testing.assert_array_equal(_stable_argsort(keys), np.argsort(keys, kind='stable'))


@pytest.mark.parametrize('size', [0, 1, 1000])
def test_permutation(rng, size):
    first, second = permutation(size, rng), permutation(size, rng)
    assert sorted(first) == sorted(second) == list(range(size))
    assert size < 2 or (first != second).any()
