from weakref import ref

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset
from mmpretrain.datasets import KFoldDataset
from torch.utils.data import Subset

from ltmm.datasets import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError


class Records(BaseDataset):
    """A dataset of annotation records."""

    def __init__(self, records, classes=('a', 'b', 'c'), **kwargs):
        self.records = records
        super().__init__(metainfo=dict(classes=classes), **{'serialize_data': False, **kwargs})

    def load_data_list(self):
        return [dict(record) for record in self.records]

    def get_cat_ids(self, idx):
        label = self.get_data_info(idx)['gt_label']
        return label if isinstance(label, list) else [label]


def of_labels(labels, **kwargs):
    return Records([dict(gt_label=label) for label in labels], **kwargs)


def config_of(labels):
    return dict(type=Records, records=[dict(gt_label=label) for label in labels])


def lists(table):
    return [table.labels[i:j].tolist() for i, j in zip(table.offsets[:-1], table.offsets[1:])]


DETECTION = [
    dict(instances=[dict(bbox_label=2, bbox=[0, 0, 1, 1], ignore_flag=0), dict(bbox_label=2, ignore_flag=0)]),
    dict(instances=[]),
    dict(instances=[dict(bbox_label=0, ignore_flag=1), dict(bbox_label=1, ignore_flag=0)]),
]


@pytest.mark.parametrize(
    'records, expected',
    [
        ([dict(gt_label=2), dict(gt_label=0)], [[2], [0]]),
        ([dict(gt_label=[2, 0]), dict(gt_label=[])], [[2, 0], []]),
        ([dict(gt_label=np.array([2, 0])), dict(gt_label=np.array(1))], [[2, 0], [1]]),
        ([dict(gt_score=[1, 0, 1]), dict(gt_score=np.zeros(3))], [[0, 2], []]),
        ([dict(gt_label=[0, 1, 2], gt_score=np.array([1.0, -1.0, 0.0]))], [[0]]),
        (DETECTION, [[2, 2], [], [1]]),
        ([dict(instances=[dict(mask_label=1, mask=[])])], [[1]]),
    ],
)
def test_records(records, expected):
    for options in (dict(serialize_data=False), dict(serialize_data=True), dict(lazy_init=True)):
        table = LabelTable.from_dataset(Records(records, **options))
        assert lists(table) == expected
        assert (table.num_classes, table.class_names) == (3, ('a', 'b', 'c'))


def test_detection_counts():
    distribution = LabelTable.from_dataset(Records(DETECTION)).class_distribution()
    assert distribution.instance_counts.tolist() == [0, 1, 2]
    assert distribution.image_counts.tolist() == [0, 1, 1]
    assert distribution.num_images == 2
    assert distribution.class_names == ('a', 'b', 'c')


@pytest.mark.parametrize(
    'records', [[dict(gt_label=[0, 2]), dict(gt_label=[])], [dict(gt_score=[1, 0, 1]), dict(gt_score=[0, 0, 0])]]
)
def test_multi_label_counts_empty_images(records):
    distribution = LabelTable.from_dataset(Records(records)).class_distribution()
    assert distribution.num_images == 2 and distribution.image_frequency.tolist() == [0.5, 0, 0.5]


def test_counts_and_pairs():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 7, rng.integers(0, 6)).tolist() for _ in range(300)]
    table = LabelTable.from_lists(labels, 7)
    pairs = [(i, c) for i, sample in enumerate(labels) for c in sorted(set(sample))]
    assert list(zip(*map(np.ndarray.tolist, table.unique_pairs()))) == pairs
    distribution = table.class_distribution()
    assert distribution.instance_counts.tolist() == [sum(sample.count(c) for sample in labels) for c in range(7)]
    assert distribution.image_counts.tolist() == [sum(c in sample for sample in labels) for c in range(7)]
    assert table.samples.tolist() == [i for i, sample in enumerate(labels) for _ in sample]


def test_unknown_labels_through_wrappers():
    partial = Records([dict(gt_score=np.array([1, 0, -1], np.int8)), dict(gt_score=[0, 1, 0])])
    assert LabelTable.from_dataset(partial).unknown.tolist() == [True, False]
    assert LabelTable.from_dataset(Subset(partial, [1, 0, 1])).unknown.tolist() == [False, True, False]
    assert not LabelTable.from_dataset(Subset(partial, [1])).has_unknown
    for records in ([dict(gt_score=[1, 0, 0])], [dict(gt_label=[0, 2])], DETECTION):
        complete = Records(records)
        assert not LabelTable.from_dataset(complete).has_unknown
        both = LabelTable.from_dataset(ConcatDataset([complete, partial]))
        assert both.unknown.tolist() == [False] * len(records) + [True, False]
    offered = of_labels([2])
    offered.get_label_table = lambda: LabelTable.from_labels([0], 3)
    assert LabelTable.from_dataset(offered).labels.tolist() == [0]
    assert not LabelTable.from_dataset(offered).has_unknown
    assert LabelTable.from_dataset(ConcatDataset([offered, partial])).unknown.tolist() == [False, True, False]


def test_co_occurrence(monkeypatch):
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 5, rng.integers(0, 6)).tolist() for _ in range(200)]
    table = LabelTable.from_lists(labels, 6)
    naive = [[sum(a in sample and b in sample for sample in labels) for b in range(6)] for a in range(6)]
    for chunk in (10**6, 7, 1):
        monkeypatch.setattr('ltmm.datasets.labels.label_table.CHUNK', chunk)
        assert table.co_occurrence().tolist() == naive
    assert table.class_distribution().co_occurrence is None  # nobody asked
    distribution = table.class_distribution(co_occurrence=True)
    assert distribution.co_occurrence.dtype == np.int64
    assert distribution.co_occurrence.tolist() == naive
    assert LabelTable.from_lists([[], []], 2).co_occurrence().tolist() == [[0, 0], [0, 0]]


def test_co_occurrence_of_multi_label_data_only():
    for single in (of_labels([0, 1]), Records(DETECTION)):
        assert class_distribution_of(single, co_occurrence=True).co_occurrence is None
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[config_of([[0, 1]]), config_of([[2], [1, 2]])]))
    assert class_distribution_of(dataset, co_occurrence=True).co_occurrence.tolist() == [
        [1, 1, 0],
        [1, 2, 1],
        [0, 1, 2],
    ]


def test_take():
    labels = [[0], [], [2, 1], [1]]
    assert lists(LabelTable.from_lists(labels, 3).take([2, 0, 2, 1])) == [[2, 1], [0], [2, 1], []]


def test_overridden_get_data_info():
    class Noisy(Records):
        def get_data_info(self, idx):
            return dict(gt_label=0)

    assert LabelTable.from_dataset(Noisy([dict(gt_label=2)] * 3)).labels.tolist() == [0, 0, 0]


def test_repeating_wrappers():
    dataset = config_of([0] * 9 + [1])
    balanced = dict(type='ClassBalancedDataset', dataset=dataset, oversample_thr=0.4)
    wrappers = [balanced, dict(type='RepeatDataset', dataset=dataset, times=3)]
    wrappers += [dict(type='RepeatDataset', dataset=wrapper, times=2) for wrapper in wrappers]
    for wrapper in map(DATASETS.build, wrappers):
        repeated = [[wrapper.get_data_info(i)['gt_label']] for i in range(len(wrapper))]
        assert len(repeated) > 10
        assert lists(LabelTable.from_dataset(wrapper)) == repeated
        assert class_distribution_of(wrapper).instance_counts.tolist() == [9, 1, 0]


def test_concatenation():
    first, second = config_of([0, 1]), config_of([2, 2, 0])
    repeated = dict(type='RepeatDataset', dataset=first, times=2)
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[repeated, second]))
    assert LabelTable.from_dataset(dataset).labels.tolist() == [0, 1, 0, 1, 2, 2, 0]
    assert class_distribution_of(dataset).instance_counts.tolist() == [2, 1, 2]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[first, second]))
    assert LabelTable.from_dataset(dataset).labels.tolist() == [0, 1, 2, 2, 0]


def test_torch_subset():
    subset = Subset(of_labels([0, 0, 1, 2]), [3, 0])
    assert LabelTable.from_dataset(subset).labels.tolist() == [2, 0]
    assert class_distribution_of(subset).instance_counts.tolist() == [1, 0, 1]
    balanced = DATASETS.build(dict(type='ClassBalancedDataset', dataset=config_of([0] * 9 + [1]), oversample_thr=0.4))
    subset = Subset(balanced, [10, 8, 9])  # the last two are one image
    assert LabelTable.from_dataset(subset).labels.tolist() == [1, 0, 1]
    assert class_distribution_of(subset).instance_counts.tolist() == [1, 1, 0]


def test_fold():
    fold = KFoldDataset(config_of([0, 1, 2, 2, 1, 0]), fold=1, num_splits=3)
    assert LabelTable.from_dataset(fold).labels.tolist() == [0, 1, 1, 0]
    assert class_distribution_of(fold).instance_counts.tolist() == [2, 2, 0]


def test_cache():
    dataset = of_labels([0, 1])
    assert LabelTable.from_dataset(dataset) is LabelTable.from_dataset(dataset)
    alive = ref(dataset)
    del dataset
    assert alive() is None


@pytest.mark.parametrize('serialize_data', [True, False])
def test_cache_after_get_subset(serialize_data):
    dataset = of_labels([0, 1, 2], serialize_data=serialize_data)
    assert LabelTable.from_dataset(dataset).labels.tolist() == [0, 1, 2]
    dataset.get_subset_([2, 0, 0])
    assert LabelTable.from_dataset(dataset).labels.tolist() == [2, 0, 0]


class Half:
    """A wrapper that does not tell which samples it holds."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset) // 2


class Bare:
    """A dataset of another framework."""

    metainfo = dict(classes=('a',))


@pytest.mark.parametrize(
    'make, error, message',
    [
        (lambda: of_labels([0, 3]), ValueError, r'in \[0, 3\), but sample 1 has label 3'),
        (lambda: of_labels([[], [0, -1]]), ValueError, r'in \[0, 3\), but sample 1 has label -1'),
        (lambda: Records([dict(img=0)]), TypeError, r"the keys \['img'"),
        (lambda: of_labels([0], classes=()), TypeError, r"Records has no class names in metainfo\['classes'\]"),
        (lambda: Bare(), TypeError, 'Cannot find the labels of Bare.*`get_label_table.*Pass labels='),
        (lambda: Half(of_labels([0, 1])), TypeError, 'which of the 2 inner samples are the 1 samples of Half'),
        (lambda: Records([dict(gt_score=[0, 0.5, 1])]), ValueError, '`gt_score`.* 0.5 for class 1'),
        (
            lambda: ConcatDataset([of_labels([0]), of_labels([0], classes=('a', 'b'))], ignore_keys='classes'),
            ValueError,
            'same classes, but got 3 and 2 classes',
        ),
        (
            lambda: ConcatDataset([of_labels([0]), of_labels([0], classes=('a', 'c', 'b'))], ignore_keys='classes'),
            ValueError,
            "same classes, but got 'b' and 'c'",
        ),
    ],
)
def test_invalid_datasets(make, error, message):
    dataset = make()
    with pytest.raises(error, match=message):
        LabelTable.from_dataset(dataset)


@pytest.mark.parametrize('labels, got', [([0, 0.5], '0.5'), ([0.0, float('nan')], 'nan'), ([0, 10**30], '1e30|10{30}')])
def test_labels_that_are_not_whole_numbers(labels, got):
    with pytest.raises(InputError, match=f'whole numbers, but sample 1 has label ({got})'):
        LabelTable.from_labels(labels, 2)
    with pytest.raises(InputError, match=f'whole numbers, but sample 1 has label ({got})'):
        LabelTable.from_lists([[label] for label in labels], 2)
    assert LabelTable.from_labels([0.0, 1.0], 2).labels.dtype == np.int64


@pytest.mark.parametrize(
    'label, message',
    [
        (1.2, 'whole numbers, but b.jpg has label 1.2'),
        ('cat', 'whole numbers, but b.jpg has label cat'),
        ([[0]], r'whole numbers, but b.jpg has label \[0\]'),
        (2, 'b.jpg has label 2'),
    ],
)
def test_an_invalid_label_names_its_image(label, message):
    records = [dict(img_path='a.jpg', gt_label=1), dict(img_path='b.jpg', gt_label=label)]
    with pytest.raises(InputError, match=message):
        LabelTable.from_dataset(Records(records, classes=('a', 'b')))
