import numpy as np
import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmpretrain.datasets import CIFAR100, BaseDataset, MultiLabelDataset

from ltmm.datasets import LabelTable, LongTailed, class_distribution_of, long_tailed_counts, select_long_tailed
from ltmm.registry import DATASETS

TOTALS = {  # of the published CIFAR-LT training sets
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
    """`per_class[c]` records of class c, classes taking turns as long as they can."""

    def __init__(self, per_class, **kwargs):
        self.per_class = per_class
        classes = [f'c{c}' for c in range(len(per_class))]
        super().__init__('', metainfo=dict(classes=classes), serialize_data=False, **kwargs)

    def load_data_list(self):
        turns = [(turn, c) for c, n in enumerate(self.per_class) for turn in range(n)]
        return [dict(gt_label=c, turn=turn) for turn, c in sorted(turns)]


@pytest.mark.parametrize(('num_classes', 'factor'), TOTALS)
def test_exp_gives_the_totals_of_the_published_cifar_sets(num_classes, factor):
    counts = long_tailed_counts(50000 / num_classes, num_classes, factor)
    assert counts.sum() == TOTALS[num_classes, factor]


def test_exp_gives_the_published_counts_of_cifar10():
    expected = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tailed_counts(5000.0, 10, 100).tolist() == expected


def test_step_splits_the_classes_in_halves():
    assert long_tailed_counts(300.0, 6, 10, 'step').tolist() == [300] * 3 + [30] * 3
    assert long_tailed_counts(300.0, 5, 10, 'step').tolist() == [300] * 2 + [30] * 3


def test_pareto_is_a_power_law_from_head_to_tail():
    counts = long_tailed_counts(10000.0, 50, 100, 'pareto')
    assert (counts[0], counts[-1]) == (10000, 100)
    slope = np.diff(np.log(counts)) / np.diff(np.log(np.arange(1, 51)))
    assert np.allclose(slope, -np.log(100) / np.log(50), rtol=0.3)


@pytest.mark.parametrize('profile', ['exp', 'step', 'pareto'])
def test_factor_one_keeps_everything(profile):
    assert (long_tailed_counts(20, 7, 1, profile) == 20).all()


def test_selection_is_that_of_the_authors_loop():
    labels = np.random.RandomState(3).randint(0, 5, 400)
    counts = [60, 30, 12, 3, 1]
    np.random.seed(7)
    expected = []
    for c, count in enumerate(counts):
        of_class = np.where(labels == c)[0]
        np.random.shuffle(of_class)
        expected += of_class[:count].tolist()
    assert select_long_tailed(labels, counts, seed=7).tolist() == expected


def test_selection_leaves_the_global_generator_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    select_long_tailed([0, 1, 0, 1], [2, 1], seed=1)
    assert (np.random.get_state()[1] == before).all()


def test_too_few_images_name_the_class():
    with pytest.raises(ValueError, match=r'class 1 to have at least the 3 images.*it has 1 \(1 of 2 classes'):
        select_long_tailed([0, 0, 0, 1], [2, 3], seed=0)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (
            dict(imbalance_factor=0.01),
            r'`imbalance_factor`, head over tail, .* got 0.01 \(0.01 as tail over head is 100\)',
        ),
        (dict(imbalance_factor=0), 'to be at least 1, but got 0'),
        (dict(imbalance_factor=float('nan')), 'to be at least 1, but got nan'),
        (dict(imbalance_factor=10, profile='zipf'), r"one of \['exp', 'pareto', 'step'\], but got 'zipf'"),
        (dict(imbalance_factor=2, val_images=0), '`val_images` to be at least 1, but got 0'),
        (dict(imbalance_factor=21), 'to leave every class an image, but got 21 where the most frequent class has 20'),
    ],
)
def test_wrong_arguments_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        LongTailed(Numbers([20, 20]), **args)


def test_one_class_has_no_tail():
    with pytest.raises(ValueError, match='at least 2 classes, but got 1'):
        LongTailed(Numbers([20]), 10)


def test_wrapper_gives_the_chosen_records():
    inner = Numbers([40] * 4)
    dataset = LongTailed(inner, imbalance_factor=10)
    counts = long_tailed_counts(40, 4, 10)
    assert len(dataset) == counts.sum()
    labels = [dataset[i]['gt_label'] for i in range(len(dataset))]
    assert labels == np.repeat(range(4), counts).tolist()  # class after class
    assert labels == dataset.get_gt_labels().tolist() == [dataset.get_cat_ids(i)[0] for i in range(len(dataset))]
    info = dataset.get_data_info(5)
    assert info == inner.get_data_info(info['sample_idx'])
    assert dataset.metainfo == inner.metainfo


def test_the_seed_changes_which_images_never_how_many():
    inner = Numbers([100] * 3)
    first, again, other = (LongTailed(inner, 10, seed=seed) for seed in (0, 0, 1))
    assert first.indices.tolist() == again.indices.tolist() != other.indices.tolist()
    assert first.get_gt_labels().tolist() == other.get_gt_labels().tolist()


def test_counts_need_no_pass_over_the_records(monkeypatch):
    dataset = LongTailed(Numbers([40] * 4), imbalance_factor=10)
    monkeypatch.setattr(Numbers, 'get_data_info', lambda *_: pytest.fail('read a record'))
    assert class_distribution_of(dataset).instance_counts.tolist() == [40, 18, 8, 4]


def test_the_validation_set_is_made_of_what_the_long_tailed_version_leaves_out():
    inner = Numbers([40] * 4)
    train, val = (LongTailed(inner, imbalance_factor=10, val_images=n) for n in (None, 5))
    assert not set(train.indices) & set(val.indices)
    assert class_distribution_of(val).instance_counts.tolist() == [0, 5, 5, 5]  # class 0 keeps all of its own
    everything = LongTailed(inner, imbalance_factor=10, val_images=1000)
    assert sorted([*train.indices, *everything.indices]) == list(range(160))


def test_lives_inside_and_around_other_wrappers():
    concat = ConcatDataset([Numbers([10] * 3), Numbers([10] * 3)])
    dataset = RepeatDataset(dict(type=LongTailed, dataset=concat, imbalance_factor=4), times=2)
    assert len(dataset) == 2 * (20 + 10 + 5)
    assert LabelTable.from_dataset(dataset).class_distribution().instance_counts.tolist() == [40, 20, 10]
    assert class_distribution_of(dataset).instance_counts.tolist() == [20, 10, 5]


def test_lazy_init_reads_nothing_before_it_is_needed(monkeypatch):
    inner = Numbers([20] * 2, lazy_init=True)
    dataset = LongTailed(inner, 2, lazy_init=True)
    assert dataset.metainfo['classes'] == ['c0', 'c1'] and not inner._fully_initialized
    dataset.full_init()
    assert len(dataset) == 30


def test_several_labels_an_image_are_refused():
    class TwoLabels(MultiLabelDataset):
        METAINFO = dict(classes=('a', 'b'))

        def load_data_list(self):
            return [dict(gt_label=[0, 1]), dict(gt_label=[0])]

    with pytest.raises(ValueError, match='one label an image, but TwoLabels has 3 labels on 2 images'):
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
