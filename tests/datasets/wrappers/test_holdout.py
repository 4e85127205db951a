import numpy as np

from ltmm.datasets import LabelTable, class_distribution_of, split_holdout
from ltmm.registry import DATASETS

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
    assert np.bincount(LABELS[val], minlength=4).tolist() == [8, 2, 0, 0]


def test_seed():
    first, again, other = (split_holdout(LABELS, 5, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(other)


def test_every_sample_can_be_held_out():
    seen = {i for seed in range(100) for i in split_holdout(LABELS, 5, seed)[1]}
    assert set(range(40)) <= seen


def test_wrapper():
    cfg = dict(type='ltmm.Holdout', dataset=Numbers(), per_class=5)
    train, val = (DATASETS.build(dict(cfg, part=part)) for part in ('train', 'val'))
    assert (len(train), len(val)) == (42, 10)
    assert class_distribution_of(train).instance_counts.tolist() == [35, 5, 1, 1]
    assert not set(train) & set(val)
