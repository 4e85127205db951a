import hashlib
import pickle
import shutil
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from ltmm.datasets import CIFAR10, CIFAR100, cifar
from ltmm.registry import DATASETS

pytestmark = pytest.mark.usefixtures('empty_folder')

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)


@pytest.fixture
def small_cifar100(tmp_path, monkeypatch):
    """A folder with a CIFAR-100 of six images and its md5 sums."""
    folder = tmp_path / 'source' / 'cifar-100-python'
    folder.mkdir(parents=True)
    sums = {}
    for file in ('train', 'test'):
        data = pickle.dumps(dict(data=IMAGES, fine_labels=[3, 1, 4, 1, 5, 99]))
        (folder / file).write_bytes(data)
        sums[file] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(CIFAR100, 'train_list', [['train', sums['train']]])
    monkeypatch.setattr(CIFAR100, 'test_list', [['test', sums['test']]])
    return folder


@pytest.fixture
def offline(monkeypatch):
    def fail(*_, **__):
        raise URLError('no network')

    monkeypatch.setattr(cifar, 'download_and_extract_archive', fail)


@pytest.mark.parametrize('place', ['data', 'data/cifar100', 'sets/cifar100'])
def test_search(place, small_cifar100, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', 'sets')
    shutil.copytree(small_cifar100, Path(place, 'cifar-100-python'))
    dataset = DATASETS.build(dict(type='ltmm.CIFAR100', download=False))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(6)] == [3, 1, 4, 1, 5, 99]
    image = IMAGES[0].reshape(3, 32, 32).transpose(1, 2, 0)
    assert (dataset.get_data_info(0)['img'] == image).all()
    assert len(dataset.metainfo['classes']) == 100


def test_data_root(small_cifar100):
    shutil.copytree(small_cifar100, 'data/cifar-100-python')
    with pytest.raises(FileNotFoundError, match=r'in any of\n.*/elsewhere\n'):
        CIFAR100(data_root='elsewhere', download=False)
    assert len(CIFAR100(data_root=str(small_cifar100.parent))) == 6


def test_download(small_cifar100, monkeypatch):
    with tarfile.open('cifar.tar.gz', 'w:gz') as tar:
        tar.add(small_cifar100, 'cifar-100-python')
    monkeypatch.setattr(CIFAR100, 'url', Path('cifar.tar.gz').absolute().as_uri())
    monkeypatch.setattr(CIFAR100, 'tgz_md5', hashlib.md5(Path('cifar.tar.gz').read_bytes()).hexdigest())
    assert len(CIFAR100(split='test')) == 6
    assert [path.name for path in Path('data').iterdir()] == ['cifar-100-python']  # without the archive


def test_broken_download_leaves_nothing(small_cifar100, monkeypatch):
    Path('cifar.tar.gz').write_bytes(b'half an archive')
    monkeypatch.setattr(CIFAR100, 'url', Path('cifar.tar.gz').absolute().as_uri())
    with pytest.raises(FileNotFoundError, match='The download failed: File not found or corrupted'):
        CIFAR100()
    assert not Path('data').exists()


def test_no_network(offline):
    with pytest.raises(FileNotFoundError) as error:
        CIFAR10(data_root='there')
    for part in (
        'CIFAR-10: cifar-10-batches-py/data_batch_1',
        f'not found in any of\n    {Path("there").absolute()}\n',
        'no network',
        'curl -L https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz | tar xz -C there',
        'set LTMM_DATA_ROOT to the folder',
    ):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match=r'/data\n.*/data/cifar100\n.*/data/cifar\n'):
        CIFAR100()


def test_damaged_files_are_kept(small_cifar100):
    shutil.copytree(small_cifar100, 'data/cifar-100-python')
    Path('data/cifar-100-python/test').write_bytes(b'half')
    with pytest.raises(OSError, match=r'data/cifar-100-python are damaged \(md5 differs\). Delete the folder'):
        CIFAR100()
    assert Path('data/cifar-100-python/test').read_bytes() == b'half'


def test_files_are_hashed_once(small_cifar100, monkeypatch):
    hashed = []
    real = hashlib.md5
    monkeypatch.setattr(hashlib, 'md5', lambda *args: hashed.append(1) or real(*args))
    CIFAR100(data_root=str(small_cifar100.parent))
    assert len(hashed) == 2
