import numpy as np
import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmpretrain.datasets import CIFAR100, BaseDataset, MultiLabelDataset

from ltmm.datasets import (
    LabelTable,
    LongTailed,
    class_distribution_of,
    counts_of_total,
    long_tailed_counts,
    select_long_tailed,
)
from ltmm.registry import DATASETS

TOTALS = {  # published sizes of the CIFAR-LT training sets
    (10, 200): 11203,
    (10, 100): 12406,
    (10, 50): 13996,
    (10, 20): 17023,
    (10, 10): 20431,
    (100, 200): 9502,
    (100, 100): 10847,
    (100, 50): 12608,
    (100, 20): 15907,
    (100, 10): 19573,
}


class Numbers(BaseDataset):
    """``per_class[c]`` records of class c, classes alternating."""

    def __init__(self, per_class, **kwargs):
        self.per_class = per_class
        classes = [f'c{c}' for c in range(len(per_class))]
        super().__init__('', metainfo=dict(classes=classes), serialize_data=False, **kwargs)

    def load_data_list(self):
        turns = [(turn, c) for c, n in enumerate(self.per_class) for turn in range(n)]
        return [dict(gt_label=c, turn=turn) for turn, c in sorted(turns)]


@pytest.mark.parametrize(('num_classes', 'factor'), TOTALS)
def test_exp_totals(num_classes, factor):
    counts = long_tailed_counts(50000 / num_classes, num_classes, factor)
    assert counts.sum() == TOTALS[num_classes, factor]


def test_exp_counts_of_cifar10():
    expected = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tailed_counts(5000.0, 10, 100).tolist() == expected


def test_step():
    assert long_tailed_counts(300.0, 6, 10, 'step').tolist() == [300] * 3 + [30] * 3
    assert long_tailed_counts(300.0, 5, 10, 'step').tolist() == [300] * 2 + [30] * 3


def test_pareto():
    counts = long_tailed_counts(10000.0, 50, 100, 'pareto')
    assert (counts[0], counts[-1]) == (10000, 100)
    slope = np.diff(np.log(counts)) / np.diff(np.log(np.arange(1, 51)))
    assert np.allclose(slope, -np.log(100) / np.log(50), rtol=0.3)


@pytest.mark.parametrize('profile', ['exp', 'step', 'pareto'])
def test_imbalance_factor_one(profile):
    assert (long_tailed_counts(20, 7, 1, profile) == 20).all()


@pytest.mark.parametrize('profile', ['exp', 'step', 'pareto'])
@pytest.mark.parametrize('factor', [1, 7, 100])
def test_counts_of_a_total(factor, profile):
    counts = counts_of_total(9000, 30, factor, profile)
    assert 9000 - 30 <= counts.sum() <= 9000
    shape = long_tailed_counts(1e6, 30, factor, profile)
    scale = counts[0] / 300  # of numbers that are whole before and after
    np.testing.assert_allclose(counts, 9000 * shape / shape.sum(), rtol=0.03, atol=1 + scale)


def test_balanced_set_of_the_size_of_a_long_tailed_one():
    data = Numbers([500] * 10)
    long_tailed = LongTailed(data, imbalance_factor=100)
    balanced = LongTailed(data, imbalance_factor=1, num_images=len(long_tailed))
    counts = class_distribution_of(balanced).instance_counts
    assert len(set(counts)) == 1 and 0 <= len(long_tailed) - len(balanced) < 10
    with pytest.raises(ValueError, match='Expected 600 images of class 0, but got 500'):
        LongTailed(data, imbalance_factor=1, num_images=6000)
    for num_images in (0, 9):
        with pytest.raises(ValueError, match=f'num_images.*but got {num_images}'):
            LongTailed(data, imbalance_factor=1, num_images=num_images)
    with pytest.raises(ValueError, match='to be at least 1000 for 10 classes and imbalance_factor=100, but got 999'):
        LongTailed(data, imbalance_factor=100, num_images=999)
    assert len(LongTailed(data, imbalance_factor=100, num_images=1000)) > 990


def test_images_of_the_most_frequent_class():
    data = Numbers([500] * 10)
    dataset = LongTailed(data, imbalance_factor=10, max_images=450)
    counts = class_distribution_of(dataset).instance_counts
    assert counts.tolist() == [int(450 * 0.1 ** (c / 9)) for c in range(10)]  # the labeled part of STL10-LT
    with pytest.raises(ValueError, match='`max_images`.*but got 0'):
        LongTailed(data, imbalance_factor=10, max_images=0)
    with pytest.raises(ValueError, match='Expected 501 images of class 0, but got 500'):
        LongTailed(data, imbalance_factor=10, max_images=501)
    with pytest.raises(ValueError, match='Expected `num_images` or `max_images`, but got both, 900 and 450'):
        LongTailed(data, imbalance_factor=10, num_images=900, max_images=450)


def test_selection_equals_the_authors():
    labels = np.random.RandomState(3).randint(0, 5, 400)
    counts = [60, 30, 12, 3, 1]
    np.random.seed(7)
    expected = []
    for c, count in enumerate(counts):
        indices = np.where(labels == c)[0]
        np.random.shuffle(indices)
        expected += indices[:count].tolist()
    before = np.random.get_state()[1].copy()
    assert select_long_tailed(labels, counts, seed=7).tolist() == expected
    assert (np.random.get_state()[1] == before).all()


def test_too_few_images():
    with pytest.raises(ValueError, match='3 images of class 1, but got 1'):
        select_long_tailed([0, 0, 0, 1], [2, 3], seed=0)
    with pytest.raises(ValueError, match='`num_classes`'):
        long_tailed_counts(20, 1, 10)


def test_records():
    inner = Numbers([40] * 4)
    dataset = LongTailed(inner, imbalance_factor=10)
    counts = long_tailed_counts(40, 4, 10)
    assert len(dataset) == counts.sum()
    labels = [dataset[i]['gt_label'] for i in range(len(dataset))]
    assert labels == np.repeat(range(4), counts).tolist()  # class by class
    assert labels == dataset.get_gt_labels().tolist() == [dataset.get_cat_ids(i)[0] for i in range(len(dataset))]
    info = dataset.get_data_info(5)
    assert info == inner.get_data_info(info['sample_idx'])
    assert dataset.metainfo == inner.metainfo


def test_seed():
    inner = Numbers([100] * 3)
    first, again, other = (LongTailed(inner, 10, seed=seed) for seed in (0, 0, 1))
    assert first.indices.tolist() == again.indices.tolist() != other.indices.tolist()
    assert first.get_gt_labels().tolist() == other.get_gt_labels().tolist()


def test_counting_reads_no_record(monkeypatch):
    dataset = LongTailed(Numbers([40] * 4), imbalance_factor=10)
    monkeypatch.setattr(Numbers, 'get_data_info', lambda *_: pytest.fail('a record was read'))
    assert class_distribution_of(dataset).instance_counts.tolist() == [40, 18, 8, 4]


def test_val_images():
    inner = Numbers([40] * 4)
    train, val = (LongTailed(inner, imbalance_factor=10, val_images=n) for n in (None, 5))
    assert not set(train.indices) & set(val.indices)
    assert class_distribution_of(val).instance_counts.tolist() == [0, 5, 5, 5]  # class 0 keeps all of its images
    everything = LongTailed(inner, imbalance_factor=10, val_images=1000)
    assert sorted([*train.indices, *everything.indices]) == list(range(160))


def test_other_wrappers():
    concat = ConcatDataset([Numbers([10] * 3), Numbers([10] * 3)])
    dataset = RepeatDataset(dict(type=LongTailed, dataset=concat, imbalance_factor=4), times=2)
    assert len(dataset) == 2 * (20 + 10 + 5)
    assert LabelTable.from_dataset(dataset).class_distribution().instance_counts.tolist() == [40, 20, 10]
    assert class_distribution_of(dataset).instance_counts.tolist() == [20, 10, 5]


def test_lazy_init():
    inner = Numbers([20] * 2, lazy_init=True)
    dataset = LongTailed(inner, 2, lazy_init=True)
    assert dataset.metainfo['classes'] == ['c0', 'c1'] and not inner._fully_initialized
    dataset.full_init()
    assert len(dataset) == 30


def test_multi_label_data():
    class TwoLabels(MultiLabelDataset):
        METAINFO = dict(classes=('a', 'b'))

        def load_data_list(self):
            return [dict(gt_label=[0, 1]), dict(gt_label=[0])]

    with pytest.raises(ValueError, match='TwoLabels has 3 labels on 2 images'):
        LongTailed(TwoLabels(''), 2)


def test_real_cifar100():
    try:
        inner = DATASETS.build(dict(type='ltmm.CIFAR100', download=False))
    except FileNotFoundError:
        pytest.skip('CIFAR-100 is not in data/')
    assert isinstance(inner, CIFAR100)
    dataset = DATASETS.build(dict(type='ltmm.LongTailed', dataset=inner, imbalance_factor=100))
    distribution = class_distribution_of(dataset)
    assert distribution.instance_counts.sum() == 10847
    assert distribution.instance_counts[[0, 1, 2, 98, 99]].tolist() == [500, 477, 455, 5, 5]
    assert {name: int(mask.sum()) for name, mask in distribution.shots().items()} == dict(many=35, medium=35, few=30)
