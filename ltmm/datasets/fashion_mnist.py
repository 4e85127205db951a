"""Fashion-MNIST of mmpretrain that searches the data folders, reads gzip files and downloads safely."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from mmpretrain.datasets import FashionMNIST as MMPretrainFashionMNIST
from mmpretrain.datasets.utils import download_url

from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

from .files import DownloadMixin, file_or_gz

__all__ = ['FashionMNIST', 'read_idx']

FILES = {
    'train': ('train-images-idx3-ubyte', 'train-labels-idx1-ubyte'),
    'test': ('t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'),
}


def read_idx(path: Path) -> np.ndarray:
    """Read an idx file of unsigned bytes, plain or gzip."""
    try:
        data = (gzip.decompress if path.suffix == '.gz' else bytes)(path.read_bytes())
        zero, kind, num_dims = struct.unpack_from('>HBB', data)
        shape = struct.unpack_from(f'>{num_dims}I', data, 4)
        if (zero, kind) != (0, 8):
            raise InputError('not an idx file of unsigned bytes')
        return np.frombuffer(data, np.uint8, offset=4 + 4 * num_dims).reshape(shape)
    except (ValueError, EOFError, struct.error, zlib.error, gzip.BadGzipFile) as error:
        raise OSError(f'{path.absolute()} is damaged ({error}). Delete it to download it again.') from None


@DATASETS.register_module()
class FashionMNIST(DownloadMixin, MMPretrainFashionMNIST):
    """Fashion-MNIST, from the data folders, Debian's package ``dataset-fashion-mnist`` or the internet.

    ``split`` is ``'train'`` (60,000 images) or ``'test'`` (10,000); unlike in mmpretrain, ``test_mode`` does not change
    it. Args: see :class:`~ltmm.datasets.files.DownloadMixin`.

    References:
        [0] Xiao et al., Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, 2017,
            arXiv 1708.07747.
    """

    name = 'Fashion-MNIST'
    folders = ('fashion_mnist', 'fashion-mnist', 'FashionMNIST/raw', '/usr/share/datasets/fashion-mnist')
    command = 'python tools/dataset_tools/fetch_fashion_mnist.py'

    def missing_files(self, folder: Path) -> list[str]:
        """Return the files that are in ``folder`` neither plain nor as gzip."""
        return [name for names in FILES.values() for name in names if file_or_gz(folder / name) is None]

    def fetch(self, folder: str) -> None:
        """Download the four gzip files."""
        for name, md5 in self.train_list + self.test_list:
            download_url(self.url_prefix + name, folder, md5=md5)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img`` (28, 28) uint8, ``gt_label``."""
        self.ensure_files()
        folder = Path(self.data_prefix['root'])
        images, labels = (read_idx(file_or_gz(folder / name)) for name in FILES[self.split])
        if len(images) != len(labels):
            raise OSError(f'{folder.absolute()} has {len(images)} images, but {len(labels)} labels ({self.split}).')
        return [dict(img=image, gt_label=label) for image, label in zip(images, labels.tolist())]
