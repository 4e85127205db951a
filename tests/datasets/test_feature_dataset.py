import json

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.runner import Runner
from mmpretrain.models.heads import LinearClsHead

from ltmm.datasets import FeatureDataset, LongTailed, class_distribution_of
from ltmm.datasets.feature_dataset import feature_files
from ltmm.registry import DATASETS, MODELS
from ltmm.utils.errors import InputError

LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
FEATURES = np.arange(7 * 4, dtype=np.float32).reshape(7, 4)


def write(folder, features=FEATURES, labels=LABELS, classes=('a', 'b', 'c'), split='train'):
    files = feature_files(folder, split)
    np.save(files['features'], features)
    np.save(files['labels'], labels)
    files['info'].write_text(json.dumps(dict(classes=classes)))
    return str(folder)


def loader(dataset, **settings):
    cfg = dict(num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    collate_fn = dict(type='ltmm.collate_features')
    return Runner.build_dataloader(cfg | dict(batch_size=3, collate_fn=collate_fn, dataset=dataset) | settings)


@pytest.mark.parametrize('in_memory', [True, False])
@pytest.mark.parametrize('num_workers', [0, 1])
def test_training_batch(tmp_path, in_memory, num_workers):
    dataset = FeatureDataset(write(tmp_path), 'train', in_memory=in_memory)
    first, *_, last = loader(dataset, num_workers=num_workers)
    assert torch.equal(first['inputs'], torch.from_numpy(FEATURES[:3]))
    (sample,) = first['data_samples']
    assert sample.gt_label.tolist() == [0, 0, 0]
    assert sample.sample_idx == [0, 1, 2]
    assert last['data_samples'][0].gt_label.tolist() == [2]


def test_test_batch(tmp_path):
    dataset = FeatureDataset(write(tmp_path), 'train', test_mode=True)
    second = list(loader(dataset))[1]
    assert [sample.gt_label.tolist() for sample in second['data_samples']] == [[0], [1], [1]]
    assert [sample.sample_idx for sample in second['data_samples']] == [3, 4, 5]


def test_mmpretrain_head(tmp_path):
    """One data sample per batch gives the losses of one data sample per image."""
    folder = write(tmp_path)
    backbone, head = dict(type='ltmm.IdentityBackbone'), LinearClsHead(3, 4, cal_acc=True)
    model = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head))
    batches = [next(iter(loader(FeatureDataset(folder, 'train', test_mode=mode)))) for mode in (False, True)]
    losses = [model(**model.data_preprocessor(batch, True), mode='loss') for batch in batches]
    assert losses[0].keys() == losses[1].keys()
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name])
    predictions = model(**model.data_preprocessor(batches[1], False), mode='predict')
    assert [sample.gt_label.tolist() for sample in predictions] == [[0], [0], [0]]
    assert predictions[0].pred_score.shape == (3,)


def test_counts_and_sampler(tmp_path):
    dataset = FeatureDataset(write(tmp_path), 'train')
    assert class_distribution_of(dataset).instance_counts.tolist() == [4, 2, 1]
    assert dataset.metainfo['classes'] == ('a', 'b', 'c')
    balanced = loader(dataset, sampler=dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1, length=6, seed=0))
    labels = torch.cat([batch['data_samples'][0].gt_label for batch in balanced])
    assert labels.bincount().tolist() == [2, 2, 2]


def test_long_tailed_features(tmp_path):
    labels = np.arange(40) % 2
    folder = write(tmp_path, np.arange(40, dtype=np.float32)[:, None], labels, ('a', 'b'))
    cfg = dict(type='ltmm.FeatureDataset', data_root=folder, split='train')
    dataset = DATASETS.build(dict(type='ltmm.LongTailed', imbalance_factor=4, dataset=cfg))
    batch = next(iter(loader(dataset)))
    assert len(batch['data_samples']) == 1
    assert batch['inputs'][:, 0].tolist() == dataset.indices[:3].tolist()
    assert isinstance(dataset, LongTailed)


def test_concat_dataset(tmp_path):
    cfg = dict(type='ltmm.FeatureDataset', data_root=write(tmp_path), split='train')
    batch = next(iter(loader(ConcatDataset([cfg, cfg]))))
    assert torch.equal(batch['inputs'], torch.from_numpy(FEATURES[:3]))
    assert [sample.gt_label.tolist() for sample in batch['data_samples']] == [[0], [0], [0]]


def test_search(tmp_path, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', str(tmp_path))
    (tmp_path / 'my_features').mkdir()
    write(tmp_path / 'my_features')
    assert len(FeatureDataset('my_features', 'train')) == 7


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'train_features.npy does not exist.*tools/extract_features.py CONFIG'):
        FeatureDataset(str(tmp_path), 'train')


@pytest.mark.parametrize(
    'content, message',
    [
        (dict(features=FEATURES[:5]), r'shape \(N, D\).* \(5, 4\) and \(7,\)'),
        (dict(features=FEATURES[:, 0]), r'shape \(N, D\).* \(7,\) and \(7,\)'),
        (dict(classes=('a', 'b')), 'train_labels.npy: .*sample 6 has label 2'),
        (dict(labels=LABELS + 0.5), r'train_labels.npy: .*whole numbers.* sample 0 has label \d.5'),
        (dict(features=np.where(np.arange(7)[:, None] == 3, np.nan, FEATURES)), '1 rows are not finite, row 3 first'),
    ],
)
def test_inconsistent_files(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        FeatureDataset(write(tmp_path, **content), 'train')


def test_lazy_init(tmp_path):
    dataset = FeatureDataset(str(tmp_path), 'train', lazy_init=True)
    write(tmp_path)
    assert len(dataset) == 7


@pytest.mark.parametrize('in_memory', [True, False])
def test_truncated_file(tmp_path, in_memory):
    write(tmp_path)
    path = tmp_path / 'train_features.npy'
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r'train_features.npy is truncated .*extract_features.py'):
        FeatureDataset(str(tmp_path), 'train', in_memory=in_memory)
