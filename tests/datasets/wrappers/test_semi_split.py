import numpy as np
import pytest
from toy import ToyImages

from ltmm.datasets.wrappers.semi_split import SemiSplit, labeled_counts, unlabeled_counts

LABELS = np.repeat([0, 1, 2], 40)


def split(part='unlabeled', **settings) -> SemiSplit:
    settings = dict(max_labeled=8, imbalance_factor=4, max_unlabeled=20) | settings
    return SemiSplit(ToyImages(counts=(40, 40, 40), pipeline=[]), part, **settings)


@pytest.mark.parametrize(
    ('max_images', 'num_classes', 'factor'),
    [(50, 100, 10), (150, 100, 20), (300, 100, 15), (500, 10, 100), (49, 7, 49)],
)
def test_counts_of_acr(max_images, num_classes, factor):
    counts = [int(max_images * factor ** (-c / (num_classes - 1))) for c in range(num_classes - 1)]
    assert labeled_counts(max_images, num_classes, factor).tolist() == [*counts, int(max_images / factor)]


def test_priors():
    settings = dict(num_classes=3, imbalance_factor=4, max_images=20)
    assert unlabeled_counts(prior='consistent', **settings).tolist() == [20, 10, 5]
    assert unlabeled_counts(prior='uniform', **settings).tolist() == [20, 20, 20]
    assert unlabeled_counts(prior='reversed', **settings).tolist() == [5, 10, 20]
    assert unlabeled_counts(prior=[0.3, 0.6, 0.0], **settings).tolist() == [10, 20, 0]
    assert unlabeled_counts(3, [1, 2, 1], 4, total=40).tolist() == [10, 20, 10]
    assert unlabeled_counts(3, 'reversed', 4, total=70).tolist() == [8, 19, 41]  # 70 / 39 of 5, 11, 23


def test_first_images_are_labeled_and_in_the_unlabeled_part_too():
    labeled, unlabeled = split('labeled'), split(prior='reversed')
    assert labeled.indices.tolist() == [*range(8), *range(40, 44), 80, 81]
    assert unlabeled.indices.tolist() == [*range(13), *range(40, 54), *range(80, 102)]
    assert unlabeled.also_labeled.tolist() == [i % 40 < {0: 8, 1: 4, 2: 2}[i // 40] for i in unlabeled.indices]
    assert set(labeled.indices) == set(unlabeled.indices[unlabeled.also_labeled])


def test_disjoint_parts():
    labeled, unlabeled = split('labeled'), split(include_labeled=False)
    assert not set(labeled.indices) & set(unlabeled.indices) and not unlabeled.also_labeled.any()
    assert np.bincount(LABELS[unlabeled.indices]).tolist() == [20, 10, 5]


def test_seed_shuffles_both_parts_alike():
    labeled, unlabeled = (split(part, seed=3) for part in ('labeled', 'unlabeled'))
    assert labeled.indices.tolist() != split('labeled').indices.tolist()
    assert np.bincount(LABELS[labeled.indices]).tolist() == [8, 4, 2]
    assert set(labeled.indices) == set(unlabeled.indices[unlabeled.also_labeled])


def test_labeled_part_of_a_split_that_only_fits_reversed():
    reversed_prior = dict(max_labeled=36, imbalance_factor=9, max_unlabeled=18)
    labeled = split('labeled', **reversed_prior)
    assert len(split(prior='reversed', **reversed_prior)) > len(labeled) == 36 + 12 + 4
    with pytest.raises(ValueError, match='expected 36 labeled and 18 unlabeled images of class 0'):
        split(**reversed_prior)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(part='test'), '`part` to be one of'),
        (dict(prior='flat'), "`prior` to be one of .*, but got 'flat'"),
        (dict(prior=[1, 2]), '`prior` to be 3 shares >= 0, not all 0, but got .1, 2.'),
        (dict(prior=[1, -1, 2]), '`prior` to be >= 0'),
        (dict(prior=[1, 'x', 2]), '`prior` to be >= 0'),
        (dict(prior=[0, 0, 0]), 'not all 0'),
        (dict(max_unlabeled=33), 'expected 8 labeled and 33 unlabeled images of class 0, but the dataset has 40'),
        (dict(max_unlabeled=None), 'either `max_unlabeled` or `num_unlabeled`'),
        (dict(num_unlabeled=20), 'either `max_unlabeled` or `num_unlabeled`'),
        (
            dict(part='labeled', prior='reversed'),
            "for the unlabeled part, but the labeled one got 'reversed'",
        ),
        (dict(max_labeled=3), 'leaves no image of the rarest class'),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        split(**settings)
