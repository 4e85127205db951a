from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from ltmm import ClassDistribution
from ltmm.datasets import LabelTable, class_distribution_of, read_labels
from ltmm.datasets.samplers import (
    ClassAwareSampler,
    DeferredSampler,
    EffectiveNumberSampler,
    PowerSampler,
    ProgressivelyBalancedSampler,
    RepeatFactorSampler,
)
from ltmm.utils.errors import InputError, InputTypeError

LABELS = [0, 0, 0, 0, 0, 1, 1, 2]
MULTI_HOT = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1], [0, 0, 0]])


def of_tensors(labels=LABELS):
    return TensorDataset(torch.randn(len(labels), 4), torch.tensor(labels))


def images(tmp_path, counts):
    from torchvision.datasets import ImageFolder

    for name, count in counts.items():
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new('RGB', (2, 2)).save(tmp_path / name / f'{i}.png')
    return ImageFolder(tmp_path)


@pytest.mark.parametrize('form', [list, tuple, np.array, torch.tensor, lambda x: np.array(x, dtype=float), map])
def test_one_label_per_sample(form):
    labels = map(int, LABELS) if form is map else form(LABELS)
    table = read_labels(labels)
    assert table.labels.tolist() == LABELS and table.num_classes == 3 and table.is_single_label
    assert read_labels(LABELS, num_classes=5).class_distribution().instance_counts.tolist() == [5, 2, 1, 0, 0]
    assert read_labels(LABELS, class_names='abcd').num_classes == 4


@pytest.mark.parametrize('form', [np.array, torch.tensor, lambda x: x.tolist(), lambda x: [torch.tensor(r) for r in x]])
def test_multi_hot_labels(form):
    table = read_labels(form(MULTI_HOT))
    distribution = table.class_distribution()
    assert distribution.image_counts.tolist() == [2, 1, 1] and distribution.num_images == 4
    assert table.unknown.tolist() == [False, False, True, False]
    assert ClassDistribution.from_labels(form(MULTI_HOT)) == distribution


@pytest.mark.parametrize('lists', [[[0], [0, 1], [2], []], [(0,), (0, 1), (2,), ()], [np.array([0]), [0, 1], [2], []]])
def test_lists_of_classes(lists):
    distribution = ClassDistribution.from_labels(lists)
    assert distribution.image_counts.tolist() == [2, 1, 1] and distribution.num_images == 4
    assert read_labels([[0, 3], [1]]).num_classes == 4


@pytest.mark.parametrize(
    'labels, message',
    [
        ([['cat'], ['dog', 'eel']], 'whole numbers, but sample 0 has label cat'),
        ([[0], [1, -2]], r'in \[0, 2\), but sample 1 has label -2'),
        (['cat', 'dog'], 'whole numbers, but sample 0 has label cat'),
        ([0, -1], r'in \[0, 1\), but sample 1 has label -1'),
        ([0.5, 1], 'whole numbers, but sample 0 has label 0.5'),
        ([0, float('nan')], 'whole numbers, but sample 1 has label nan'),
        (np.zeros((4, 1)), r'shape \(N,\) or \(N, C\), but got shape \(4, 1\)'),
        (np.zeros((2, 2, 2)), r'shape \(N,\) or \(N, C\), but got shape \(2, 2, 2\)'),
        (np.array([[0, 2], [1, 0]]), r'1 \(positive\), 0 \(negative\) or -1 \(unknown\), but got 2'),
    ],
)
def test_invalid_labels(labels, message):
    with pytest.raises(InputError, match=message):
        read_labels(labels)


def test_image_folder(tmp_path):
    dataset = images(tmp_path, dict(cat=3, dog=1))
    distribution = ClassDistribution.from_dataset(dataset)
    assert distribution.class_names == ('cat', 'dog') and distribution.instance_counts.tolist() == [3, 1]
    assert class_distribution_of(Subset(dataset, [0, 3])).instance_counts.tolist() == [1, 1]
    dataset.target_transform = lambda label: 1 - label
    swapped = ClassDistribution.from_dataset(dataset)
    assert swapped.instance_counts.tolist() == [1, 3] and swapped.class_names is None


def test_datasets_of_torchvision_by_their_attributes():
    mnist = SimpleNamespace(targets=torch.tensor(LABELS), classes=['a', 'b', 'c'])
    assert class_distribution_of(mnist).class_names == ('a', 'b', 'c')
    imagenet = SimpleNamespace(targets=[0, 1], classes=[('tench', 'Tinca tinca'), ('goldfish',)])
    assert class_distribution_of(imagenet).class_names == ('tench, Tinca tinca', 'goldfish')
    svhn = SimpleNamespace(labels=np.array(LABELS))
    assert class_distribution_of(svhn).instance_counts.tolist() == [5, 2, 1]
    features = SimpleNamespace(features=torch.zeros(8, 4), labels=torch.tensor(LABELS))
    assert class_distribution_of(features).instance_counts.tolist() == [5, 2, 1]
    with pytest.raises(InputError, match='sample 1 has label -1'):  # unlabeled images of STL10
        class_distribution_of(SimpleNamespace(labels=np.array([0, -1]), classes=['a', 'b']))


def test_tensor_datasets():
    assert ClassDistribution.from_dataset(of_tensors()).instance_counts.tolist() == [5, 2, 1]
    both = ConcatDataset([of_tensors(), Subset(of_tensors([0, 4, 4]), [1, 2])])
    assert ClassDistribution.from_dataset(both).instance_counts.tolist() == [5, 2, 1, 0, 2]
    several = TensorDataset(torch.zeros(4, 2), torch.tensor(MULTI_HOT))
    assert ClassDistribution.from_dataset(several).image_counts.tolist() == [2, 1, 1]
    assert ClassDistribution.from_dataset(of_tensors(), num_classes=5).instance_counts.tolist() == [5, 2, 1, 0, 0]
    named = ClassDistribution.from_dataset(of_tensors(), class_names='abcd')
    assert named.name_of(3) == 'd (3)' and named.instance_counts.tolist() == [5, 2, 1, 0]
    with pytest.raises(InputTypeError, match='Cannot find the labels of TensorDataset'):
        ClassDistribution.from_dataset(TensorDataset(torch.zeros(4)))
    with pytest.raises(InputError, match='`num_classes` to be 3, as in the data, got 2'):
        ClassDistribution.from_dataset(of_tensors(), num_classes=2)


def test_hugging_face():
    datasets = pytest.importorskip('datasets')
    names = ['cat', 'dog', 'eel']
    columns = dict(x=[[0.0]] * 8, label=LABELS)
    features = datasets.Features(x=datasets.List(datasets.Value('float32')), label=datasets.ClassLabel(names=names))
    dataset = datasets.Dataset.from_dict(columns, features=features)
    assert ClassDistribution.from_dataset(dataset).class_names == tuple(names)
    part = dataset.with_format('torch').select([7, 5, 0])
    assert LabelTable.from_dataset(part).labels.tolist() == [2, 1, 0]
    plain = datasets.Dataset.from_dict(columns)
    assert ClassDistribution.from_dataset(plain).instance_counts.tolist() == [5, 2, 1]
    several = datasets.Dataset.from_dict(
        dict(tags=[[0, 1], [], [2]]), features=datasets.Features(tags=datasets.List(features['label']))
    )
    assert ClassDistribution.from_dataset(several).image_counts.tolist() == [1, 1, 1]
    with pytest.raises(InputError, match=r'which column of Dataset holds the labels: x. Pass labels=dataset\[column\]'):
        ClassDistribution.from_dataset(plain.remove_columns('label'))
    with pytest.raises(InputTypeError, match='Cannot find the labels of IterableDataset'):
        ClassDistribution.from_dataset(dataset.to_iterable_dataset())
    with pytest.raises(InputTypeError, match='a dataset or its config, but got DatasetDict of train, test'):
        ClassDistribution.from_dataset(datasets.DatasetDict(train=plain, test=plain))


class Own(Dataset):
    """A dataset whose labels nobody can see."""

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, i):
        return LABELS[i]


SAMPLERS = {
    'ClassAwareSampler': lambda *args, **kwargs: ClassAwareSampler(*args, num_samples_per_class=1, **kwargs),
    'DeferredSampler': lambda dataset, **kwargs: DeferredSampler(
        dataset, dict(type='DefaultSampler'), dict(type='ltmm.PowerSampler', power=0), start_epoch=0, **kwargs
    ),
    'EffectiveNumberSampler': lambda *args, **kwargs: EffectiveNumberSampler(*args, beta=0.9, **kwargs),
    'PowerSampler': lambda *args, **kwargs: PowerSampler(*args, power=0, **kwargs),
    'ProgressivelyBalancedSampler': lambda *args, **kwargs: ProgressivelyBalancedSampler(
        *args, total_epochs=2, **kwargs
    ),
    'RepeatFactorSampler': lambda *args, **kwargs: RepeatFactorSampler(*args, threshold=0.5, **kwargs),
}


@pytest.mark.parametrize('name', SAMPLERS)
def test_samplers_take_labels(name):
    with pytest.raises(InputTypeError, match=r'Cannot find the labels of Own: .* Pass labels=\[...\], one per sample'):
        SAMPLERS[name](Own(), seed=0)
    with pytest.raises(InputError, match='Own has 8 samples, but labels of 3'):
        SAMPLERS[name](Own(), seed=0, labels=[0, 1, 2])
    orders = []
    for dataset, labels in ((Own(), LABELS), (Own(), torch.tensor(LABELS)), (of_tensors(), None)):
        sampler = SAMPLERS[name](dataset, seed=0, labels=labels)
        loader = DataLoader(dataset, batch_size=3, sampler=sampler)
        assert len(loader) == -(-len(sampler) // 3)
        epochs = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            epochs.append(list(sampler))
        assert epochs[0] != epochs[1]
        orders.append(epochs)
    assert orders[0] == orders[1] == orders[2]


def test_deferred_sampler_of_samplers():
    dataset = of_tensors()
    before, after = (PowerSampler(dataset, power=power, seed=3) for power in (0.5, 0))
    sampler = DeferredSampler(dataset, before, after, start_epoch=1)
    assert sampler.current is before
    sampler.set_epoch(1)
    assert sampler.current is after and list(sampler) == list(after)
    assert DeferredSampler.balances_classes(after) and not DeferredSampler.balances_classes(DefaultSampler(dataset))


@pytest.mark.parametrize('config', [dict(), dict(type='ltmm.PowerSampleer')])
def test_deferred_sampler_of_an_invalid_config(config):
    with pytest.raises(KeyError, match='"type"|is not in the'):
        DeferredSampler(Own(), dict(type='DefaultSampler'), config, start_epoch=0, seed=0, labels=LABELS)


def test_multi_label_sampler():
    sampler = PowerSampler(Own(), power=0, length=3000, seed=0, labels=[[0], [0], [0], [0, 1], [0], [0], [0], [2]])
    drawn = np.bincount(list(sampler), minlength=8)
    assert drawn[7] == pytest.approx(1000, abs=100) and drawn[3] == pytest.approx(1000 + 1000 / 7, abs=100)


def test_datasets_without_length():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(LABELS)

    with pytest.raises(InputTypeError, match='Cannot find the labels of Stream'):
        PowerSampler(Stream(), power=0)


@pytest.mark.parametrize('dataset', ['folder', [('image', 0), ('image', 1)]])
def test_objects_that_are_no_datasets(dataset):
    with pytest.raises(InputTypeError, match='Cannot find the labels of (str|list)'):
        ClassDistribution.from_dataset(dataset)


def test_dataset_in_place_of_counts():
    with pytest.raises(InputError, match=r'counts per class, but got TensorDataset. Use .*from_dataset\(dataset\)'):
        ClassDistribution.build(of_tensors())


def test_from_dataset_checks_the_number_of_labels():
    assert ClassDistribution.from_dataset(Own(), labels=LABELS).instance_counts.tolist() == [5, 2, 1]
    with pytest.raises(InputError, match='Expected 8 labels, but got 2'):
        ClassDistribution.from_dataset(Own(), labels=[0, 1])
