import numpy as np
import pytest

from ltmm.datasets import LabelTable
from ltmm.datasets.stratified_split import part_counts, stratified_split, warn_of_missing_classes


def table_of(lists, num_classes):
    return LabelTable.from_lists(lists, num_classes)


def long_tailed_lists(num=1500, num_classes=40, seed=0):
    """Images with one to three of the classes, whose frequency falls as 1 / rank; the last are in two and in one."""
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, num_classes - 1)
    lists = [rng.choice(num_classes - 2, rng.integers(1, 4), replace=False, p=p / p.sum()).tolist() for _ in range(num)]
    lists[7].append(num_classes - 2)
    lists[8].append(num_classes - 2)
    lists[9].append(num_classes - 1)
    return lists


@pytest.mark.parametrize(
    'count, sizes, expected',
    [
        (40, [0.2], [32, 8]),
        (5, [0.2], [4, 1]),
        (2, [0.2], [1, 1]),
        (1, [0.2], [1, 0]),
        (0, [0.2], [0, 0]),
        (30, [20], [15, 15]),
        (100, [20], [80, 20]),
        (100, [0.15, 0.15], [70, 15, 15]),
        (4, [0.15, 0.15], [2, 1, 1]),
        (3, [0.15, 0.15], [1, 1, 1]),
        (2, [0.15, 0.15], [1, 1, 0]),
        (1, [0.15, 0.15], [1, 0, 0]),
        (10, [0.4, 0.4], [5, 3, 2]),
        (7, [20, 1], [4, 2, 1]),
        (50, [20, 0.1], [25, 20, 5]),
    ],
)
def test_part_counts(count, sizes, expected):
    assert part_counts(np.array([count]), sizes).ravel().tolist() == expected


def test_parts_are_a_partition_with_the_wanted_counts():
    labels = np.repeat(np.arange(6), [200, 50, 9, 3, 2, 1])
    parts = stratified_split(LabelTable.from_labels(labels, 6), [0.2, 0.1], seed=3)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    counts = [np.bincount(labels[part], minlength=6).tolist() for part in parts]
    assert counts == part_counts(np.bincount(labels), [0.2, 0.1]).tolist()


@pytest.mark.parametrize('sizes', [[0.2], [0.15, 0.15], [5, 5]])
@pytest.mark.parametrize('seed', range(5))
def test_several_labels(sizes, seed):
    table = table_of(long_tailed_lists(seed=seed), 40)
    parts = stratified_split(table, sizes, seed)
    assert sorted(np.concatenate(parts)) == list(range(len(table)))
    got = np.stack([np.bincount(table.take(part).labels, minlength=40) for part in parts])
    counts = got.sum(axis=0)
    assert (got[:, counts >= len(parts)] > 0).all()
    assert got[0, -1] == 1  # the only image of a class
    wanted = part_counts(counts, sizes)
    if sizes[0] < 1:  # a number of images per class cannot be had where frequent classes come with rare ones
        assert np.abs(got - wanted).max() <= 3 + 0.05 * counts.max()
        random = np.random.default_rng(seed).choice(len(parts), len(table), p=[1 - sum(sizes), *sizes])
        at_random = np.stack([np.bincount(table.take(np.flatnonzero(random == k)).labels, minlength=40)
                              for k in range(len(parts))])  # fmt: skip
        assert np.abs(got - wanted).sum() < np.abs(at_random - wanted).sum() / 3


def test_boxes_and_empty_images():
    lists = [[0, 0, 1], [0], [1, 1], [0, 2], [2, 2, 2], [], [], [], [], [0]] * 3
    parts = stratified_split(table_of(lists, 3), [0.3])
    images = [{c for i in part for c in lists[i]} for part in parts]
    assert images == [{0, 1, 2}, {0, 1, 2}]
    empty = [sum(not lists[i] for i in part) for part in parts]
    assert empty[0] > empty[1] >= 2


def test_entangled_rare_classes():
    """Pairs of images for each class, in a ring: a wrong first choice would leave a class without a side."""
    for num in range(4, 12, 2):
        lists = [[i, (i + 1) % num] for i in range(num)]
        for seed in range(10):
            train, val = stratified_split(table_of(lists, num), [0.5], seed)
            assert {c for i in train for c in lists[i]} == {c for i in val for c in lists[i]} == set(range(num))


def test_seed():
    table = table_of(long_tailed_lists(300), 40)
    first, again, other = (stratified_split(table, [0.2], seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_warning(monkeypatch):
    log = []
    monkeypatch.setattr('ltmm.datasets.stratified_split.print_log', lambda text, *_: log.append(text))
    table = LabelTable.from_labels(np.repeat([0, 1, 2], [5, 1, 2]), 4, ('ant', 'bee', 'cow', 'dog'))
    warn_of_missing_classes(table, stratified_split(table, [0.2, 0.2]), ('train', 'val', 'test'))
    assert log == [
        '1 of 4 classes have too few images for the val part (number of images): bee (1).',
        '2 of 4 classes have too few images for the test part (number of images): bee (1), cow (2).',
    ]
