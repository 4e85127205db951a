from itertools import pairwise

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, default_collate
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.models import ClsDataPreprocessor

from ltmm.datasets import LabelTable, PartialLabels, class_distribution_of
from ltmm.datasets.wrappers.partial_labels import hidden_negatives, hidden_positives
from ltmm.registry import DATASETS

CLASSES = tuple('abcdefgh')


class Photos(BaseDataset):
    """Tiny images with random labels, given as classes (``gt_label``) or states (``gt_score``)."""

    def __init__(self, key='gt_label', num=200, pipeline=(), **kwargs):
        self.states = (np.random.default_rng(3).random((num, len(CLASSES))) < 0.4).astype(np.int8)
        self.states[0] = 0  # no positive
        self.key = key
        super().__init__(metainfo=dict(classes=CLASSES), pipeline=list(pipeline), serialize_data=False, **kwargs)

    def load_data_list(self):
        image = np.zeros((2, 2, 3), np.uint8)
        if self.key == 'gt_label':
            return [dict(img=image, gt_label=np.flatnonzero(row).tolist()) for row in self.states]
        return [dict(img=image, gt_score=row.astype(np.float32)) for row in self.states]


def partial(rate=0.4, key='gt_label', pipeline=(), **options) -> PartialLabels:
    dataset = dict(type=Photos, key=key, pipeline=list(pipeline))
    return DATASETS.build(dict(type='ltmm.PartialLabels', dataset=dataset, missing_rate=rate, **options))


def test_seed():
    first = partial()
    assert (first.states == partial(key='gt_score').states).all()
    assert (first.states != partial(seed=1).states).any()


@pytest.mark.parametrize('unknown_as, missing', [('negative', 0), ('unknown', -1)])
@pytest.mark.parametrize('key', ['gt_label', 'gt_score'])
def test_hides_positives_but_one(unknown_as, missing, key):
    dataset = partial(0.75, key, unknown_as=unknown_as)
    full = dataset.dataset.states
    changed = dataset.states != full
    assert (full[changed] == 1).all() and (dataset.states[changed] == missing).all()
    assert ((dataset.states == 1).any(axis=1) == full.any(axis=1)).all()
    assert (dataset.states[0] == 0).all()


def test_probabilities():
    full = np.ones((4000, 6), np.int8)
    hidden = hidden_positives(full, 0.4, keep_one=False, seed=0)
    np.testing.assert_allclose(hidden.mean(axis=0), 0.4, atol=0.03)
    kept = ~hidden_positives(full, 1, keep_one=True, seed=0)
    assert (kept.sum(axis=1) == 1).all()
    np.testing.assert_allclose(kept.mean(axis=0), 1 / 6, atol=0.03)
    np.testing.assert_allclose(hidden_negatives(full * 0, 0.7, 0).mean(axis=0), 0.7, atol=0.03)
    assert not hidden_negatives(full, 1, 0).any()


def test_keep_one_probabilities():
    full = np.ones((20000, 2), np.int8)
    hidden = hidden_positives(full, 0.5, keep_one=True, seed=0)  # both are hidden in 1/4, then one of two is kept
    np.testing.assert_allclose(
        [(~hidden).all(axis=1).mean(), hidden[:, 0].mean(), hidden[:, 1].mean()], [0.25, 0.375, 0.375], atol=0.015
    )


def test_higher_rates_hide_more():
    positives = [partial(rate).states == 1 for rate in (0, 0.4, 0.75, 1)]
    assert all((high <= low).all() and (high < low).any() for low, high in pairwise(positives))
    assert (positives[0] == Photos().states).all()


def test_negative_missing_rate():
    dataset = partial(0.9, unknown_as='unknown', negative_missing_rate=0.9, keep_one=False)
    np.testing.assert_allclose((dataset.states == -1).mean(), 0.9, atol=0.03)
    single = partial(1, unknown_as='unknown', negative_missing_rate=1)
    assert not (single.states == 0).any()
    assert ((single.states == 1).sum(axis=1) == single.dataset.states.any(axis=1)).all()


def test_unknown_labels_stay_unknown():
    first = partial(0.5, unknown_as='unknown')
    again = PartialLabels(first, 0.5, unknown_as='negative', seed=1)
    assert (again.states[first.states == -1] == -1).all()
    assert (again.states == 1).sum() < (first.states == 1).sum()


def test_class_distribution():
    dataset = partial(0.6, unknown_as='unknown')
    left = dataset.states == 1
    distribution = class_distribution_of(dataset, co_occurrence=True)
    assert distribution.instance_counts.tolist() == left.sum(axis=0).tolist()
    assert distribution.co_occurrence.tolist() == (left.T.astype(int) @ left).tolist()
    assert distribution.num_images == 200 > left.any(axis=1).sum()  # images without positives count
    assert distribution.class_names == CLASSES
    repeated = dict(type='ltmm.PartialLabels', dataset=dict(type=Photos), missing_rate=0.6, unknown_as='unknown')
    repeated = DATASETS.build(dict(type='RepeatDataset', dataset=repeated, times=2))
    assert len(repeated) == 400 and class_distribution_of(repeated) == distribution
    assert dataset.get_cat_ids(5) == np.flatnonzero(left[5]).tolist()


def test_unknown_in_label_table():
    dataset = partial(0.4, unknown_as='unknown')
    unknown = LabelTable.from_dataset(dataset).unknown
    assert unknown.tolist() == (dataset.states == -1).any(axis=1).tolist() and 0 < unknown.sum() < 200
    assert not LabelTable.from_dataset(partial(0.4)).has_unknown


def test_one_label_per_image_is_multi_label():
    distribution = class_distribution_of(partial(1), co_occurrence=True)
    assert (distribution.co_occurrence == np.diag(distribution.image_counts)).all()


@pytest.mark.parametrize('key', ['gt_label', 'gt_score'])
def test_hidden_labels_do_not_leak(key):
    dataset = partial(0.75, key, pipeline=[PackInputs()], unknown_as='unknown')
    states = torch.from_numpy(dataset.states).float()
    for i in range(0, len(dataset), 37):
        record = dataset.get_data_info(i)
        assert 'gt_label' not in record and (record['gt_score'] == dataset.states[i]).all()
        assert record['gt_score'].dtype == np.float32
    batch = default_collate([dataset[i] for i in range(32)])
    batch = ClsDataPreprocessor(num_classes=len(CLASSES), to_onehot=True)(batch, training=True)
    assert all('gt_label' not in sample for sample in batch['data_samples'])
    assert (torch.stack([sample.gt_score for sample in batch['data_samples']]) == states[:32]).all()


def test_samples_are_copies():
    dataset = partial(pipeline=[PackInputs()])
    dataset[3]['data_samples'].gt_score.fill_(1)
    dataset.get_data_info(3)['gt_score'][:] = 1
    assert (dataset[3]['data_samples'].gt_score.numpy() == dataset.states[3]).all()


def test_lazy_init():
    dataset = partial(lazy_init=True)
    assert not dataset._fully_initialized
    assert len(LabelTable.from_dataset(dataset)) == 200


class OneEach(Photos):
    """Images with one label each; ``form`` makes the record of a class."""

    def __init__(self, form):
        self.form = form
        super().__init__()

    def load_data_list(self):
        return [self.form(i % len(CLASSES)) for i in range(16)]


@pytest.mark.parametrize('number', [int, np.int64, np.array])
def test_single_label_data(number):
    with pytest.raises(TypeError, match='gt_label=0'):
        PartialLabels(OneEach(lambda c: dict(gt_label=number(c))), 0.4)


@pytest.mark.parametrize(
    'form',
    [
        lambda c: dict(gt_label=[c]),
        lambda c: dict(gt_label=np.array([c])),
        lambda c: dict(gt_score=np.eye(len(CLASSES))[c]),
        lambda c: dict(gt_label=c, gt_score=np.eye(len(CLASSES))[c]),
    ],
)
def test_forms_of_multi_label_records(form):
    states = PartialLabels(OneEach(form), 0.5, keep_one=False).states
    assert 0 < states.sum() < 16 and (states.sum(axis=1) <= 1).all()


def test_repeated_samples():
    dataset = dict(type='RepeatDataset', dataset=dict(type=Photos), times=2)
    with pytest.raises(ValueError, match='RepeatDataset repeats 200 samples to 400'):
        DATASETS.build(dict(type='ltmm.PartialLabels', dataset=dataset, missing_rate=0.4))
