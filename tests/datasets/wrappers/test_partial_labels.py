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
    """Tiny images with random labels, told by classes (``gt_label``) or by states (``gt_score``)."""

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


def test_the_same_labels_are_missing_every_time_and_others_with_another_seed():
    first = partial()
    assert (first.states == partial(key='gt_score').states).all()
    assert (first.states != partial(seed=1).states).any()


@pytest.mark.parametrize('unknown_as, missing', [('negative', 0), ('unknown', -1)])
@pytest.mark.parametrize('key', ['gt_label', 'gt_score'])
def test_only_positive_labels_go_missing_and_one_is_kept(unknown_as, missing, key):
    dataset = partial(0.75, key, unknown_as=unknown_as)
    full = dataset.dataset.states
    changed = dataset.states != full
    assert (full[changed] == 1).all() and (dataset.states[changed] == missing).all()
    assert ((dataset.states == 1).any(axis=1) == full.any(axis=1)).all()
    assert (dataset.states[0] == 0).all()


def test_each_positive_goes_missing_with_the_same_probability():
    full = np.ones((4000, 6), np.int8)
    hidden = hidden_positives(full, 0.4, keep_one=False, seed=0)
    np.testing.assert_allclose(hidden.mean(axis=0), 0.4, atol=0.03)
    kept = ~hidden_positives(full, 1, keep_one=True, seed=0)
    assert (kept.sum(axis=1) == 1).all()
    np.testing.assert_allclose(kept.mean(axis=0), 1 / 6, atol=0.03)
    np.testing.assert_allclose(hidden_negatives(full * 0, 0.7, 0).mean(axis=0), 0.7, atol=0.03)
    assert not hidden_negatives(full, 1, 0).any()


def test_giving_one_back_equals_dropping_and_drawing_one_of_all():
    full = np.ones((20000, 2), np.int8)
    hidden = hidden_positives(full, 0.5, keep_one=True, seed=0)  # both: 1/4, and one of two comes back
    np.testing.assert_allclose(
        [(~hidden).all(axis=1).mean(), hidden[:, 0].mean(), hidden[:, 1].mean()], [0.25, 0.375, 0.375], atol=0.015
    )


def test_what_is_missing_at_one_rate_is_missing_at_every_higher_rate():
    positives = [partial(rate).states == 1 for rate in (0, 0.4, 0.75, 1)]
    assert all((high <= low).all() and (high < low).any() for low, high in pairwise(positives))
    assert (positives[0] == Photos().states).all()


def test_a_share_of_all_labels_can_be_annotated():
    dataset = partial(0.9, unknown_as='unknown', negative_missing_rate=0.9, keep_one=False)
    np.testing.assert_allclose((dataset.states == -1).mean(), 0.9, atol=0.03)
    single = partial(1, unknown_as='unknown', negative_missing_rate=1)
    assert not (single.states == 0).any()
    assert ((single.states == 1).sum(axis=1) == single.dataset.states.any(axis=1)).all()


def test_unknown_labels_stay_unknown_whatever_missing_ones_become():
    first = partial(0.5, unknown_as='unknown')
    again = PartialLabels(first, 0.5, unknown_as='negative', seed=1)
    assert (again.states[first.states == -1] == -1).all()
    assert (again.states == 1).sum() < (first.states == 1).sum()


def test_the_class_distribution_counts_what_is_left():
    dataset = partial(0.6, unknown_as='unknown')
    left = dataset.states == 1
    distribution = class_distribution_of(dataset)
    assert distribution.instance_counts.tolist() == left.sum(axis=0).tolist()
    assert distribution.co_occurrence.tolist() == (left.T.astype(int) @ left).tolist()
    assert distribution.num_images == 200 > left.any(axis=1).sum()  # an image that lost all positives is trained on
    assert distribution.class_names == CLASSES
    repeated = dict(type='ltmm.PartialLabels', dataset=dict(type=Photos), missing_rate=0.6, unknown_as='unknown')
    repeated = DATASETS.build(dict(type='RepeatDataset', dataset=repeated, times=2))
    assert len(repeated) == 400 and class_distribution_of(repeated) == distribution
    assert dataset.get_cat_ids(5) == np.flatnonzero(left[5]).tolist()


def test_the_label_table_knows_which_samples_have_unknown_labels():
    dataset = partial(0.4, unknown_as='unknown')
    unknown = LabelTable.from_dataset(dataset).unknown
    assert unknown.tolist() == (dataset.states == -1).any(axis=1).tolist() and 0 < unknown.sum() < 200
    assert not LabelTable.from_dataset(partial(0.4)).has_unknown


def test_data_with_one_label_left_an_image_are_still_multi_label():
    distribution = class_distribution_of(partial(1))
    assert (distribution.co_occurrence == np.diag(distribution.image_counts)).all()


@pytest.mark.parametrize('key', ['gt_label', 'gt_score'])
def test_no_way_out_of_the_wrapper_holds_a_missing_label(key):
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


def test_changing_a_sample_changes_no_later_one():
    dataset = partial(pipeline=[PackInputs()])
    dataset[3]['data_samples'].gt_score.fill_(1)
    dataset.get_data_info(3)['gt_score'][:] = 1
    assert (dataset[3]['data_samples'].gt_score.numpy() == dataset.states[3]).all()


def test_lazy_init_reads_nothing_until_it_is_used():
    dataset = partial(lazy_init=True)
    assert not dataset._fully_initialized
    assert len(LabelTable.from_dataset(dataset)) == 200


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(rate=1.2), r'Expected `missing_rate` to be in \[0, 1\], but got 1.2'),
        (dict(negative_missing_rate=-1), r'Expected `negative_missing_rate` to be in \[0, 1\], but got -1'),
        (dict(unknown_as='ignore'), r"one of \['negative', 'unknown'\], but got 'ignore'"),
        (dict(rate='x'), r"Expected `missing_rate` to be in \[0, 1\], but got 'x'"),
        (dict(rate=float('nan')), r'Expected `missing_rate` to be in \[0, 1\], but got nan'),
        (dict(seed=None), 'Expected `seed` to be a whole number of at least 0, but got None'),
        (dict(seed=-1), 'Expected `seed` to be a whole number of at least 0, but got -1'),
        (dict(negative_missing_rate=0.5), "to go with unknown_as='unknown', but got 0.5 with 'negative'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        partial(**options)


class OneEach(Photos):
    """Images with one label each, told in the given form."""

    def __init__(self, form):
        self.form = form
        super().__init__()

    def load_data_list(self):
        return [self.form(i % len(CLASSES)) for i in range(16)]


@pytest.mark.parametrize('number', [int, np.int64, np.array])
def test_single_label_data_are_refused(number):
    with pytest.raises(TypeError, match=r"list of classes as 'gt_label', but got the one class gt_label=0\. Give"):
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
def test_multi_label_data_may_happen_to_have_one_label_each(form):
    states = PartialLabels(OneEach(form), 0.5, keep_one=False).states
    assert 0 < states.sum() < 16 and (states.sum(axis=1) <= 1).all()


def test_repeated_samples_are_refused():
    dataset = dict(type='RepeatDataset', dataset=dict(type=Photos), times=2)
    with pytest.raises(ValueError, match='RepeatDataset has 200 samples 400 times in all. Put it around PartialLabels'):
        DATASETS.build(dict(type='ltmm.PartialLabels', dataset=dataset, missing_rate=0.4))
