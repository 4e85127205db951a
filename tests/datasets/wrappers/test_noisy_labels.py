import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.runner import Runner
from toy import toy_config

from ltmm.datasets import LabelTable, LongTailed, NoisyLabels, class_distribution_of
from ltmm.datasets.wrappers.noisy_labels import noise_targets, noisy_labels
from ltmm.registry import DATASETS, TRANSFORMS

SEEN = []


@TRANSFORMS.register_module()
class SeenLabel(BaseTransform):
    def transform(self, results):
        SEEN.append(results['gt_label'])
        return results


class Numbers(BaseDataset):
    """``per_class[c]`` tiny images of class c, classes in order."""

    def __init__(self, per_class=(60, 30, 20, 10), pipeline=None, **kwargs):
        self.per_class = per_class
        pipeline = pipeline or [dict(type='ltmm.SeenLabel'), dict(type='mmpretrain.PackInputs')]
        super().__init__(metainfo=dict(classes=tuple('abcdefgh'[: len(per_class)])), pipeline=pipeline, **kwargs)

    def load_data_list(self):
        labels = np.repeat(np.arange(len(self.per_class)), self.per_class)
        return [dict(img=np.zeros((2, 2, 3), np.uint8), gt_label=int(label)) for label in labels]


def noisy(rate=0.5, kind='symmetric', dataset=None, **options) -> NoisyLabels:
    dataset = dict(type=Numbers) if dataset is None else dataset
    return DATASETS.build(dict(type='ltmm.NoisyLabels', dataset=dataset, rate=rate, kind=kind, **options))


def expected_transition(kind, rate, counts):
    num_classes, n = len(counts), sum(counts)
    matrix = (1 - rate) * np.eye(num_classes)
    for i in range(num_classes):
        for j in range(num_classes):
            if kind == 'symmetric':
                matrix[i, j] += rate / num_classes
            elif kind == 'pair' and j == (i + 1) % num_classes:
                matrix[i, j] += rate
            elif kind == 'frequency' and j != i:
                matrix[i, j] += rate * counts[j] / (n - counts[i])
    return matrix


@pytest.mark.parametrize('kind', ['symmetric', 'pair', 'frequency'])
def test_transition_matrix(kind):
    counts = [40000, 20000, 0, 20000, 8000]
    label = np.random.default_rng(0).permutation(np.repeat(np.arange(5), counts))
    drawn = noisy_labels(label, 5, 0.4, kind, seed=3)
    joint = np.bincount(label * 5 + drawn, minlength=25).reshape(5, 5)
    with np.errstate(invalid='ignore'):
        got = joint / joint.sum(1, keepdims=True)
    present = np.array(counts) > 0
    np.testing.assert_allclose(got[present], expected_transition(kind, 0.4, counts)[present], atol=0.015)


def test_flip_has_one_other_class_of_each():
    label = np.repeat(np.arange(6), 50)
    targets = noise_targets(label, 6, 'flip', seed=0).reshape(6, 50)
    assert (targets == targets[:, :1]).all() and (targets[:, 0] != np.arange(6)).all()
    assert {tuple(noise_targets(np.arange(6), 6, 'flip', seed)) for seed in range(5)} != {tuple(targets[:, 0])}


@pytest.mark.parametrize('kind', ['symmetric', 'pair', 'flip', 'frequency'])
def test_a_higher_rate_keeps_what_is_wrong(kind):
    label = np.repeat(np.arange(4), [60, 30, 20, 10])
    previous = label
    assert (noisy_labels(label, 4, 0, kind, 1) == label).all()
    for rate in (0.2, 0.5, 0.99):
        drawn = noisy_labels(label, 4, rate, kind, 1)
        wrong = previous != label
        assert (drawn[wrong] == previous[wrong]).all() and (drawn != label).sum() > wrong.sum()
        previous = drawn


def test_seed():
    first = noisy()
    assert (first.get_gt_labels() == noisy().get_gt_labels()).all()
    assert (first.get_gt_labels() != noisy(seed=1).get_gt_labels()).any()


def test_nothing_but_reports_sees_a_true_label():
    dataset = noisy(0.9)
    labels, true = dataset.get_gt_labels(), dataset.true_labels
    assert dataset.noise_rate == (labels != true).mean() > 0.5
    SEEN.clear()
    samples = [dataset[i] for i in range(len(dataset))]
    assert SEEN == labels.tolist()  # in the transforms
    for i, sample in enumerate(samples):
        data_sample = sample['data_samples']
        assert data_sample.gt_label.tolist() == [labels[i]] and data_sample.sample_idx == i
        assert {key for key in data_sample.all_keys() if 'label' in key or 'score' in key} == {'gt_label'}
        record = dataset.get_data_info(i)
        assert record['gt_label'] == dataset.get_cat_ids(i)[0] == labels[i]
        assert set(record) == {'img', 'gt_label', 'sample_idx'}
    true[:] = 0  # a copy
    assert dataset.true_labels.any()


def test_class_counts_are_those_of_noisy_labels():
    dataset = noisy()
    expected = np.bincount(dataset.get_gt_labels(), minlength=4)
    assert class_distribution_of(dataset).image_counts.tolist() == expected.tolist() != [60, 30, 20, 10]


def test_noise_comes_after_the_tail_is_cut():
    tail = LongTailed(Numbers((40, 40, 40, 40)), imbalance_factor=10)
    dataset = NoisyLabels(tail, 0.4, 'symmetric')
    assert np.bincount(dataset.true_labels).tolist() == np.bincount(tail.get_gt_labels()).tolist() == [40, 18, 8, 4]
    assert [dataset[i]['data_samples'].sample_idx for i in range(len(dataset))] == [*range(70)]
    later = LongTailed(dataset, imbalance_factor=2, num_images=24)  # a selection of it: its rows, its labels
    labels = dataset.get_gt_labels()
    assert all(later[i]['data_samples'].gt_label == labels[later.indices[i]] for i in range(len(later)))


def test_repetition():
    with pytest.raises(ValueError, match='RepeatDataset repeats 120 samples to 240. Put it around NoisyLabels'):
        noisy(dataset=RepeatDataset(Numbers(), 2))
    inner = dict(type='ltmm.NoisyLabels', dataset=dict(type=Numbers), rate=0.5, kind='pair')
    repeated = DATASETS.build(dict(type='RepeatDataset', dataset=inner, times=2))
    assert len(LabelTable.from_dataset(repeated)) == 240
    assert repeated[121]['data_samples'].sample_idx == 1


class ManyLabels(Numbers):
    def load_data_list(self):
        return [dict(record, gt_label=[0, 1]) for record in super().load_data_list()]


@pytest.mark.parametrize(
    'dataset, options, message',
    [
        (Numbers, dict(rate=1), 'Expected `rate` to be in .0, 1., but got 1'),
        (Numbers, dict(rate=-0.1), '`rate`'),
        (Numbers, dict(rate=None), '`rate`'),
        (Numbers, dict(kind='asymmetric'), '`kind`'),
        (Numbers, dict(seed=-1), '`seed`'),
        (Numbers, dict(file='x.pt'), 'either `file`'),
        (Numbers, dict(file='x.pt', rate=None, kind=None, seed=1), 'either `file`'),
        (Numbers, dict(key='worse_label'), 'either `file`'),
        (ManyLabels, dict(), 'needs one label per image, but ManyLabels has 240 labels on 120'),
        (lambda: ConcatDataset([Numbers(), Numbers()]), dict(), 'ConcatDataset has no single pipeline'),
        (lambda: Numbers((5, 0)), dict(kind='frequency'), 'at least two classes'),
    ],
)
def test_bad_input(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        noisy(**{'dataset': dataset(), **options})


def human_file(path, true, **change):
    """A file in the form of CIFAR-N."""
    wrong = (true + 1) % 4
    content = dict(clean_label=true, noisy_label=wrong, worse_label=np.zeros_like(true), **change)
    torch.save(content, path)
    return str(path)


def test_human_labels_of_the_images_that_are_left(tmp_path):
    full = Numbers((40, 40, 40, 40))
    true = np.repeat(np.arange(4), 40)
    tail = LongTailed(full, imbalance_factor=10, seed=2)
    file = human_file(tmp_path / 'human.pt', true)
    dataset = DATASETS.build(dict(type='ltmm.NoisyLabels', dataset=tail, file=file))
    assert (dataset.get_gt_labels() == (true[tail.indices] + 1) % 4).all()
    assert (dataset.true_labels == true[tail.indices]).all()
    assert not NoisyLabels(tail, file=file, key='worse_label').get_gt_labels().any()
    np.save(tmp_path / 'human.npy', np.arange(160) % 4)
    assert (NoisyLabels(tail, file=str(tmp_path / 'human.npy')).get_gt_labels() == tail.indices % 4).all()


def test_bad_files(tmp_path):
    true = np.repeat(np.arange(4), [60, 30, 20, 10])
    path = tmp_path / 'human.pt'
    with pytest.raises(FileNotFoundError, match='cifar-10-100n'):
        NoisyLabels(Numbers(), file=str(path))
    file = human_file(path, true)
    with pytest.raises(ValueError, match=r"`key` to be one of \['clean_label', 'noisy_label', 'worse_label'\]"):
        NoisyLabels(Numbers(), file=file, key='aggre_label')
    with pytest.raises(ValueError, match=r'to have the shape \(6,\), .*, but got \(120,\)'):
        NoisyLabels(Numbers((3, 3)), file=file)
    with pytest.raises(ValueError, match='another order .*clean label of image 0 is 3, but the image has 0'):
        NoisyLabels(Numbers(), file=human_file(path, true[::-1].copy()))
    for bad, message in (
        (true + 0.5, r'human.npy, but got 0.5 for image 0'),
        (true + 9, r'\[0, 4\) .* got 9 for image 0'),
    ):
        np.save(tmp_path / 'human.npy', bad)
        with pytest.raises(ValueError, match=message):
            NoisyLabels(Numbers(), file=str(tmp_path / 'human.npy'))


def test_training_counts_noisy_labels(tmp_path):
    cfg = toy_config(tmp_path, **{'train_cfg.max_epochs': 1})
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ltmm.NoisyLabels', dataset=inner, rate=0.5, kind='pair')
    runner = Runner.from_cfg(cfg)
    runner.train()
    dataset = runner.train_dataloader.dataset
    expected = np.bincount(dataset.get_gt_labels(), minlength=3)
    assert runner.model.head.loss_module.class_distribution.instance_counts.tolist() == expected.tolist()
