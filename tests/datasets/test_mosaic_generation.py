import numpy as np
import pytest

from ltmm.datasets.mosaic_generation import draw_label_sets, draw_tiles, place_labels

COUNTS = np.array([300, 80, 60, 20, 10, 5])
SIZES = (0.2, 0.4, 0.3, 0.1)
ALONE = np.arange(6)  # every class its own scene


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw(rng, counts=COUNTS, scenes=ALONE, affinity=1.0):
    return draw_label_sets(counts, SIZES, scenes, affinity, rng)


def test_counts(rng):
    sets = draw(rng)
    assert all(len(set(labels)) == len(labels) for labels in sets)
    assert np.bincount(np.concatenate(sets)).tolist() == COUNTS.tolist()


def test_set_sizes(rng):
    sizes = np.bincount([len(labels) for labels in draw(rng, np.full(40, 300), np.arange(40))], minlength=5)
    np.testing.assert_allclose(sizes[1:] / sizes.sum(), SIZES, atol=0.03)


def test_affinity(rng):
    scenes = np.arange(40) // 5

    def share_within(affinity):
        sets = draw(rng, np.full(40, 100), scenes, affinity)
        return np.mean([scenes[a] == scenes[labels[0]] for labels in sets for a in labels[1:]])

    assert share_within(1.0) == pytest.approx(4 / 39, abs=0.04)
    assert share_within(4.0) > 0.25


def test_place_labels(rng):
    sets = draw(rng)
    classes = place_labels(sets, rng)
    assert classes.shape == (len(sets), 4)
    assert all(set(row) == set(labels) for row, labels in zip(classes.tolist(), sets))
    assert (np.bincount(classes[:, 0], minlength=6) > 0).sum() > 3  # at random positions


def test_draw_tiles(rng):
    images = [np.arange(10 * c, 10 * c + 7) for c in range(6)]
    classes = place_labels(draw(rng), rng)
    tiles = draw_tiles(classes, images, rng)
    assert (tiles // 10 == classes).all()
    for c in range(6):
        times = np.bincount(tiles[classes == c] - 10 * c, minlength=7)
        assert np.ptp(times) <= 1
