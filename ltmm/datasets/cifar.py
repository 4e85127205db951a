"""CIFAR-10 and CIFAR-100 of mmpretrain that search the data folders and download safely."""

from pathlib import Path

from mmpretrain.datasets import CIFAR10 as MMPretrainCIFAR10
from mmpretrain.datasets import CIFAR100 as MMPretrainCIFAR100
from mmpretrain.datasets.utils import download_and_extract_archive

from ltmm.registry import DATASETS

from .files import DownloadMixin

__all__ = ['CIFAR10', 'CIFAR100']


class _CIFAR(DownloadMixin):
    """Mixin for datasets whose archive holds one folder of pickles with known md5 sums."""

    _intact = False

    def missing_files(self, folder: Path) -> list[str]:
        """Return the pickles that are not in ``folder``."""
        names = [f'{self.base_folder}/{name}' for name, _ in self.train_list + self.test_list]
        return [name for name in names if not (folder / name).is_file()]

    def fetch(self, folder: str) -> None:
        """Download and extract the archive."""
        download_and_extract_archive(self.url, folder, filename=self.filename, md5=self.tgz_md5, remove_finished=True)

    def load_data_list(self) -> list[dict]:
        """Load one record per image: ``img`` (32, 32, 3) uint8 RGB, ``gt_label``."""
        self.ensure_files()
        return super().load_data_list()

    def _fetch_missing(self) -> None:
        super()._fetch_missing()
        if not self._check_integrity():
            folder = Path(self.data_prefix['root'], self.base_folder).absolute()
            raise OSError(f'Files in {folder} are damaged (md5 differs). Delete the folder to download them again.')

    def _check_integrity(self) -> bool:
        self._intact = self._intact or super()._check_integrity()  # 0.35 s; mmpretrain calls it twice
        return self._intact


@DATASETS.register_module()
class CIFAR10(_CIFAR, MMPretrainCIFAR10):
    """CIFAR-10, ``split`` ``'train'`` (50,000 images) or ``'test'`` (10,000).

    ``data_root`` holds ``cifar-10-batches-py/``. Args: see :class:`~ltmm.datasets.files.DownloadMixin`.
    """

    name = 'CIFAR-10'
    folders = ('.', 'cifar10', 'cifar')
    command = f'curl -L {MMPretrainCIFAR10.url} | tar xz -C {{folder}}'


@DATASETS.register_module()
class CIFAR100(_CIFAR, MMPretrainCIFAR100):
    """CIFAR-100, ``split`` ``'train'`` (50,000 images) or ``'test'`` (10,000).

    ``data_root`` holds ``cifar-100-python/``. Args: see :class:`~ltmm.datasets.files.DownloadMixin`.
    """

    name = 'CIFAR-100'
    folders = ('.', 'cifar100', 'cifar')
    command = f'curl -L {MMPretrainCIFAR100.url} | tar xz -C {{folder}}'
