import numpy as np
import pytest
from toy_lvis import dataset_config, lvis_content, write_lvis

from ltmm.datasets import LabelTable, class_distribution_of, split_holdout
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

LABELS = np.repeat([0, 1, 2, 3], [40, 9, 2, 1])


class Numbers:
    metainfo = dict(classes=('a', 'b', 'c', 'd'))

    def get_label_table(self):
        return LabelTable.from_labels(LABELS, 4, self.metainfo['classes'])

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, index):
        return index


def test_split():
    train, val = split_holdout(LABELS, per_class=5, seed=0)
    assert sorted([*train, *val]) == list(range(len(LABELS)))
    assert np.bincount(LABELS[val], minlength=4).tolist() == [5, 4, 1, 0]


def test_share_keeps_the_class_mix():
    train, val = split_holdout(LABELS, per_class=0.2, seed=0)
    assert sorted([*train, *val]) == list(range(len(LABELS)))
    assert np.bincount(LABELS[val], minlength=4).tolist() == [8, 2, 1, 0]


def test_seed():
    first, again, other = (split_holdout(LABELS, 5, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(other)


def test_every_sample_can_be_held_out():
    seen = {i for seed in range(100) for i in split_holdout(LABELS, 5, seed)[1]}
    assert set(range(40)) <= seen


def test_split_of_the_benchmarks_is_as_published():
    """The split before iterative stratification, on which results of CIFAR-100-LT and iNaturalist rest."""
    counts = np.array([500, 100, 37, 12, 6, 5])
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(6), counts))
    for per_class in (0.2, 3, 20):
        wanted = per_class if per_class >= 1 else np.rint(per_class * counts)
        shuffled = np.random.default_rng(7).permutation(len(labels))
        order = shuffled[np.argsort(labels[shuffled], kind='stable')]
        rank = np.empty(len(labels), dtype=np.int64)
        rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
        is_val = rank < np.minimum(wanted, counts // 2)[labels]
        train, val = split_holdout(labels, per_class, 7)
        assert val.tolist() == np.flatnonzero(is_val).tolist()
        assert train.tolist() == np.flatnonzero(~is_val).tolist()


def test_wrapper():
    cfg = dict(type='ltmm.Holdout', dataset=Numbers(), per_class=5)
    train, val = (DATASETS.build(dict(cfg, part=part)) for part in ('train', 'val'))
    assert (len(train), len(val)) == (42, 10)
    assert class_distribution_of(train).instance_counts.tolist() == [35, 5, 1, 1]
    assert not set(train) & set(val)


class Lists(Numbers):
    lists = [[0], [0, 1], [0, 2], [2], [3], [3, 0], [], [1]] * 2

    def get_label_table(self):
        return LabelTable.from_lists(self.lists, 4, self.metainfo['classes'])

    def __len__(self):
        return len(self.lists)


def test_three_parts_of_several_labels():
    cfg = dict(type='ltmm.Holdout', dataset=Lists(), per_class=0.25, test_per_class=0.25)
    parts = [DATASETS.build(dict(cfg, part=part)) for part in ('train', 'val', 'test')]
    assert sorted(i for part in parts for i in part) == list(range(16))
    for part in parts:
        assert (class_distribution_of(part).image_counts > 0).all()
        assert [part.get_cat_ids(i) for i in range(len(part))] == [Lists.lists[i] for i in part]


def test_sizes():
    with pytest.raises(InputError, match="`test_per_class` to be set for part='test'"):
        DATASETS.build(dict(type='ltmm.Holdout', dataset=Numbers(), part='test'))
    with pytest.raises(InputError, match=r'Expected per_class \+ test_per_class to be below 1'):
        DATASETS.build(dict(type='ltmm.Holdout', dataset=Numbers(), part='val', per_class=0.5, test_per_class=0.5))


def test_filter_that_the_other_parts_do_not_have(tmp_path):
    pytest.importorskip('mmdet')
    write_lvis(tmp_path, lvis_content(40))
    part = dict(type='ltmm.Holdout', part='val', per_class=0.2)
    dataset = dict(dataset_config(tmp_path), filter_cfg=dict(filter_empty_gt=True))
    assert len(DATASETS.build(dict(part, dataset=dataset)))
    with pytest.raises(InputError, match='The val part .* another split .* test_mode=True switches filter_cfg off'):
        DATASETS.build(dict(part, dataset=dict(dataset, test_mode=True)))
