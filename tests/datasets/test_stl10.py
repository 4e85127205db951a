import pickle
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from toy import ROOT, read_config

from ltmm.datasets import STL10, LongTailed, class_distribution_of
from ltmm.datasets.wrappers import semi_supervised_collate
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

NUM_IMAGES = dict(train=12, test=4, unlabeled=3)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 96, 96, 3), dtype=np.uint8)  # row, column, channel
LABELS = np.array([9, 0, 0, 1, 1, 0, 2, 2, 0, 3, 4, 5], dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_splits(empty_folder, monkeypatch):
    splits = {name: files._replace(num_images=NUM_IMAGES[name]) for name, files in STL10.splits.items()}
    monkeypatch.setattr(STL10, 'splits', splits)


def write_stl10(folder='data/stl10_binary', images=IMAGES, labels=LABELS + 1):
    """Write as published: uint8 per image channel by channel, each in column-major order; labels from 1."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for split, number in NUM_IMAGES.items():
        with open(Path(folder, f'{split}_X.bin'), 'wb') as file:
            for image in images[:number]:
                for channel in range(3):
                    file.write(image[..., channel].tobytes('F'))
        if split != 'unlabeled':
            Path(folder, f'{split}_y.bin').write_bytes(labels[:number].astype(np.uint8).tobytes())


@pytest.mark.parametrize('place', ['data/stl10_binary', 'sets/stl10', 'data/stl10/stl10_binary'])
def test_search(place, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', 'sets')
    write_stl10(place)
    dataset = DATASETS.build(dict(type='ltmm.STL10'))
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [record['gt_label'] for record in records] == LABELS.tolist()
    assert (np.stack([record['img'] for record in records]) == IMAGES).all()
    assert dataset.metainfo['classes'][9] == 'truck'


def test_splits():
    write_stl10('here')
    assert {split: len(STL10(split, data_root='here')) for split in STL10.splits} == NUM_IMAGES
    assert STL10('test', data_root='here').get_gt_labels().tolist() == LABELS[:4].tolist()


def test_published_numbers(monkeypatch):
    monkeypatch.undo()
    assert {name: files.num_images for name, files in STL10.splits.items()} == {
        'train': 5000,
        'test': 8000,
        'unlabeled': 100_000,
    }


def test_unlabeled_images_have_no_label():
    write_stl10()
    pipeline = [dict(type='Resize', scale=(32, 32), backend='pillow'), dict(type='PackInputs')]
    dataset = STL10('unlabeled', pipeline=pipeline)
    assert sorted(dataset.get_data_info(2)) == ['img', 'sample_idx']
    assert (dataset.get_data_info(2)['img'] == IMAGES[2]).all()
    sample = dataset[2]
    assert sample['inputs'].shape == (3, 32, 32)
    assert 'gt_label' not in sample['data_samples'] and sample['data_samples'].sample_idx == 2
    with pytest.raises((KeyError, ValueError)):
        class_distribution_of(dataset)


def test_images_are_read_on_demand():
    write_stl10()
    for serialize in (True, False):
        dataset = STL10(serialize_data=serialize)
        dataset.get_data_info(0)['img'][:] = 7  # writable, and a copy
        assert (dataset.get_data_info(0)['img'] == IMAGES[0]).all()
        assert len(pickle.dumps(dataset)) < 20_000  # for workers: without the images
    assert (STL10(indices=[3, 5]).get_data_info(1)['img'] == IMAGES[5]).all()


def test_long_tail(monkeypatch):
    monkeypatch.setitem(NUM_IMAGES, 'train', 40)
    monkeypatch.setitem(STL10.splits, 'train', STL10.splits['train']._replace(num_images=40))
    write_stl10(images=np.zeros((40, 96, 96, 3), np.uint8), labels=np.tile(np.arange(10), 4) + 1)
    counts = class_distribution_of(LongTailed(STL10(), imbalance_factor=4)).instance_counts
    assert counts[0] == 4 and counts[-1] == 1 and (np.diff(counts) <= 0).all()


def test_unlabeled_part_of_a_semi_supervised_set(monkeypatch):
    """The data sets and pipelines of the configs: weak and strong views in 32 px, no label of unlabeled images."""
    cfg = read_config(ROOT / 'configs/stl10_lt/simpro_wrn28-2.py').train_dataloader
    monkeypatch.setitem(NUM_IMAGES, 'train', 40)
    monkeypatch.setitem(STL10.splits, 'train', STL10.splits['train']._replace(num_images=40))
    write_stl10(images=np.zeros((40, 96, 96, 3), np.uint8), labels=np.tile(np.arange(10), 4) + 1)
    cfg.dataset.labeled.update(max_images=4, imbalance_factor=4)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.dataset)
    assert dataset.sizes == [len(dataset) - 3, 3]
    assert dataset.true_labels[-3:].tolist() == [-1] * 3  # not even for reports
    batch = semi_supervised_collate([dataset[0], dataset[len(dataset) - 1]])
    assert [len(batch['inputs'][part]) for part in ('labeled', 'unlabeled')] == [2, 3]
    assert {view.shape for views in batch['inputs'].values() for view in views} == {(1, 3, 32, 32)}
    assert 'gt_label' not in batch['data_samples']['unlabeled'][0]


@pytest.mark.parametrize(('split', 'name'), [('unlabeled', 'unlabeled_X.bin'), ('train', 'train_y.bin')])
def test_missing_file(split, name):
    write_stl10()
    Path('data/stl10_binary', name).unlink()
    with pytest.raises(FileNotFoundError, match=f'/data/stl10_binary/{name} does not exist. Download http.*10_binary/'):
        STL10(split)


def test_truncated_file():
    write_stl10()
    path = Path('data/stl10_binary/test_X.bin')
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match='truncated .* expected 110,592 bytes, but got 110,591'):
        STL10('test')


def test_invalid_labels():
    write_stl10(labels=LABELS)
    with pytest.raises(InputError, match='train_y.bin: expected labels 1 to 10, but got 0 to 9'):
        STL10()


def test_invalid_split():
    with pytest.raises(ValueError, match="`split`.* got 'val'"):
        STL10('val')
