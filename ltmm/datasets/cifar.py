"""mmpretrain's CIFAR-10 and CIFAR-100, which find their files."""

from pathlib import Path

from mmpretrain.datasets import CIFAR10 as MMPretrainCIFAR10
from mmpretrain.datasets import CIFAR100 as MMPretrainCIFAR100
from mmpretrain.datasets.utils import download_and_extract_archive

from ltmm.registry import DATASETS

from .files import FindsItsFiles

__all__ = ['CIFAR10', 'CIFAR100']


class _CIFAR(FindsItsFiles):
    """What the two share: an archive that unpacks to one folder of pickles with known md5 sums."""

    _intact = False

    def missing_files(self, folder: Path) -> list[str]:
        """Pickles that are not in ``folder``."""
        names = [f'{self.base_folder}/{name}' for name, _ in self.train_list + self.test_list]
        return [name for name in names if not (folder / name).is_file()]

    def fetch(self, folder: str) -> None:
        """Download and unpack the archive."""
        download_and_extract_archive(self.url, folder, filename=self.filename, md5=self.tgz_md5, remove_finished=True)

    def load_data_list(self) -> list[dict]:
        """One record an image: ``img`` (32, 32, 3) uint8 RGB, ``gt_label``."""
        self.make_available()
        return super().load_data_list()

    def _fetch_missing(self) -> None:
        super()._fetch_missing()
        if not self._check_integrity():
            folder = Path(self.data_prefix['root'], self.base_folder).absolute()
            raise OSError(f'Files in {folder} are damaged (md5 differs). Delete the folder; it is then fetched again.')

    def _check_integrity(self) -> bool:
        self._intact = self._intact or super()._check_integrity()  # 0.35 s; mmpretrain asks twice a load
        return self._intact


@DATASETS.register_module()
class CIFAR10(_CIFAR, MMPretrainCIFAR10):
    """CIFAR-10 from ``data/``, ``$LTMM_DATA_ROOT`` or the internet.

    Args:
        data_root: the folder that holds ``cifar-10-batches-py/``; searched for when left out.
        download: fetch missing files.
        split: ``'train'`` (50,000 images) or ``'test'`` (10,000).

    Raises:
        FileNotFoundError: the data are neither there nor to be had; says where was looked and how to fetch them.
        OSError: a file is damaged.
    """

    name = 'CIFAR-10'
    folders = ('.', 'cifar10', 'cifar')
    remedy = f'curl -L {MMPretrainCIFAR10.url} | tar xz -C {{folder}}'


@DATASETS.register_module()
class CIFAR100(_CIFAR, MMPretrainCIFAR100):
    """CIFAR-100 from ``data/``, ``$LTMM_DATA_ROOT`` or the internet.

    Args:
        data_root: the folder that holds ``cifar-100-python/``; searched for when left out.
        download: fetch missing files.
        split: ``'train'`` (50,000 images) or ``'test'`` (10,000).

    Raises:
        FileNotFoundError: the data are neither there nor to be had; says where was looked and how to fetch them.
        OSError: a file is damaged.
    """

    name = 'CIFAR-100'
    folders = ('.', 'cifar100', 'cifar')
    remedy = f'curl -L {MMPretrainCIFAR100.url} | tar xz -C {{folder}}'
