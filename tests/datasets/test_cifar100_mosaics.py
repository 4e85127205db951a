import numpy as np
import pytest
from toy import ROOT

from ltmm.datasets import CIFAR100Mosaics, class_distribution_of
from ltmm.datasets.cifar100_mosaics import assemble, mosaic_states
from ltmm.utils.errors import InputError

CLASSES = ['ant', 'bee', 'cow']


def write(folder, **changes) -> None:
    rng = np.random.default_rng(0)
    content = dict(
        tiles=rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8),
        mosaics=np.array([[0, 1, 2, 3], [4, 4, 0, 1]], dtype=np.int32),
        labels=np.array([2, 0, 2, 2, 1]),
        classes=np.array(CLASSES),
    )
    np.savez_compressed(folder / 'train.npz', **{**content, **changes})


def test_images_and_labels(tmp_path):
    write(tmp_path)
    dataset = CIFAR100Mosaics(data_root=str(tmp_path))
    tiles = np.load(tmp_path / 'train.npz')['tiles']
    first = dataset.get_data_info(0)
    assert (first['img'] == np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:4])])).all()
    assert first['img'].shape == (64, 64, 3) and first['img'].dtype == np.uint8
    assert [dataset.get_data_info(i)['gt_score'].tolist() for i in (0, 1)] == [[1, 0, 1], [1, 1, 1]]
    assert dataset.get_cat_ids(0) == [0, 2]
    assert dataset.metainfo['classes'] == tuple(CLASSES)
    assert class_distribution_of(dataset).image_counts.tolist() == [2, 1, 2]


def test_assemble_and_states():
    tiles = np.random.default_rng(0).integers(0, 9, (7, 4, 2, 3, 1))
    assert (assemble(tiles)[5] == assemble(tiles[5])).all() and assemble(tiles).shape == (7, 4, 6, 1)
    assert mosaic_states(np.array([[0, 0, 0, 0], [1, 2, 1, 2]]), 4).tolist() == [[1, 0, 0, 0], [0, 1, 1, 0]]


def test_missing_file(empty_folder):
    with pytest.raises(FileNotFoundError, match='data/cifar100_mosaics/val.npz does not exist.*cifar100_mosaics.py'):
        CIFAR100Mosaics('val')
    with pytest.raises(ValueError, match="`split`.* got 'dev'"):
        CIFAR100Mosaics('dev')


def test_damaged_file(tmp_path):
    write(tmp_path)
    path = tmp_path / 'train.npz'
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match='train.npz is truncated .* Make it again'):
        CIFAR100Mosaics(data_root=str(tmp_path))


@pytest.mark.skipif(not (ROOT / 'data/cifar100_mosaics').is_dir(), reason='CIFAR-100 mosaics are not in data/')
def test_real_benchmark():
    counts = {
        split: class_distribution_of(CIFAR100Mosaics(split, str(ROOT / 'data/cifar100_mosaics')))
        for split in ('train', 'val', 'test')
    }
    assert [counts[split].num_images for split in ('train', 'val', 'test')] == [4199, 990, 3077]
    train = counts['train'].image_counts
    assert (len(train), train.max(), train.min()) == (50, 1000, 5)
    assert ((train >= 100).sum(), (train < 20).sum()) == (22, 13)
    assert set(counts['val'].image_counts) == {45} and set(counts['test'].image_counts) == {140}
