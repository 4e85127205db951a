import gzip
import shutil
import struct
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest

from ltmm.datasets import FashionMNIST
from ltmm.datasets.fashion_mnist import FILES, read_idx
from ltmm.registry import DATASETS

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = dict(train=[9, 0, 2, 2, 1], test=[4, 4, 4, 0, 9])


@pytest.fixture(autouse=True)
def without_system_folder(empty_folder, monkeypatch):
    monkeypatch.setattr(FashionMNIST, 'folders', FashionMNIST.folders[:-1])


def idx(array) -> bytes:
    array = np.asarray(array, np.uint8)
    return struct.pack(f'>HBB{array.ndim}I', 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_set(folder, packed: bool) -> None:
    Path(folder).mkdir(parents=True)
    for split, (images, labels) in FILES.items():
        for name, array in ((images, IMAGES), (labels, LABELS[split])):
            data = idx(array)
            Path(folder, name + '.gz' * packed).write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize('packed', [True, False])
@pytest.mark.parametrize('place', ['data/fashion_mnist', 'sets/fashion-mnist', 'data/FashionMNIST/raw'])
def test_search(place, packed, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', 'sets')
    write_set(place, packed)
    dataset = DATASETS.build(dict(type='ltmm.FashionMNIST', download=False))
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [record['gt_label'] for record in records] == LABELS['train']
    assert (np.stack([record['img'] for record in records]) == IMAGES).all()


@pytest.mark.parametrize('test_mode', [True, False])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_split(split, test_mode):
    write_set('data/fashion_mnist', packed=True)
    dataset = FashionMNIST(split=split, test_mode=test_mode)
    assert dataset.get_gt_labels().tolist() == LABELS[split]


def test_images_are_writable():
    write_set('data/fashion_mnist', packed=False)
    for serialize in (True, False):
        FashionMNIST(serialize_data=serialize).get_data_info(0)['img'][0, 0] = 1


def test_download(monkeypatch):
    write_set('server', packed=True)
    with_sum = [
        [name + '.gz', md5(Path('server', name + '.gz').read_bytes()).hexdigest()] for name in sum(FILES.values(), ())
    ]
    monkeypatch.setattr(FashionMNIST, 'url_prefix', Path('server').absolute().as_uri() + '/')
    monkeypatch.setattr(FashionMNIST, 'train_list', with_sum[:2])
    monkeypatch.setattr(FashionMNIST, 'test_list', with_sum[2:])
    assert len(FashionMNIST()) == 5
    assert sorted(path.name for path in Path('data/fashion_mnist').iterdir()) == sorted(name for name, _ in with_sum)
    shutil.rmtree('data')
    Path('server', 't10k-labels-idx1-ubyte.gz').unlink()  # the last one fails
    with pytest.raises(FileNotFoundError, match=r'fetch_fashion_mnist\.py'):
        FashionMNIST()
    assert not Path('data/fashion_mnist').exists()


def test_missing_file():
    write_set('data/fashion_mnist', packed=True)
    Path('data/fashion_mnist/t10k-labels-idx1-ubyte.gz').unlink()
    with pytest.raises(FileNotFoundError, match='t10k-labels-idx1-ubyte not found in any of'):
        FashionMNIST(download=False)


@pytest.mark.parametrize(
    ('name', 'data', 'message'),
    [
        ('x.gz', gzip.compress(idx([1, 2, 3]), mtime=0)[:-6], 'end-of-stream|end of file'),
        ('x.gz', b'not packed', 'Not a gzipped file'),
        ('x', idx(IMAGES)[:-1], 'cannot reshape'),
        ('x', b'\0\0', 'unpack'),
        ('x', b'\0\0\x0d\x01' + bytes(8), 'not an idx file of unsigned bytes'),
    ],
)
def test_damaged_files(name, data, message):
    Path(name).write_bytes(data)
    with pytest.raises(OSError, match=rf'/{name} is damaged \(.*({message})'):
        read_idx(Path(name))


def test_inconsistent_files():
    write_set('data/fashion_mnist', packed=False)
    Path('data/fashion_mnist/train-labels-idx1-ubyte').write_bytes(idx([1, 2]))
    with pytest.raises(OSError, match='5 images, but 2 labels'):
        FashionMNIST()


def test_real_fashion_mnist(monkeypatch):
    monkeypatch.undo()
    try:
        dataset = FashionMNIST(split='test', download=False)
    except FileNotFoundError:
        pytest.skip('Fashion-MNIST is not in data/')
    assert np.bincount(dataset.get_gt_labels()).tolist() == [1000] * 10
