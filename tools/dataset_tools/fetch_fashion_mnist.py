"""Download Fashion-MNIST (31 MB): python tools/dataset_tools/fetch_fashion_mnist.py

Searches $LTMM_DATA_ROOT, data/ and Debian's system folder, then downloads from the official site or, if that is not
reachable, from Debian's package dataset-fashion-mnist, without root privileges.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ltmm.datasets import FashionMNIST
from ltmm.datasets.files import data_roots, install

PACKAGE = 'dataset-fashion-mnist'


def fetch_from_debian(folder: str) -> None:
    """Download the four files of Debian's package into ``folder``."""
    with TemporaryDirectory() as temporary:
        own = Path(temporary)
        own.joinpath('lists/partial').mkdir(parents=True)
        apt = ['apt-get', '-q', '-o', 'APT::Sandbox::User=root']
        own_lists = ['-o', f'Dir::State::lists={own}/lists', '-o', f'Dir::Cache={own}']
        try:
            _run(*apt, 'download', PACKAGE, folder=own)
        except RuntimeError:  # no package lists on this machine: download them into an own folder
            _run(*apt, *own_lists, 'update', folder=own)
            _run(*apt, *own_lists, 'download', PACKAGE, folder=own)
        _run('dpkg-deb', '-x', str(next(own.glob('*.deb'))), 'unpacked', folder=own)
        for file in own.glob('unpacked/**/*-ubyte.gz'):
            shutil.copy(file, folder)


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)}: {done.stderr.strip()}')


def main() -> int:
    """Return 0 if the data exist in the end."""
    try:
        FashionMNIST(lazy_init=True).ensure_files()
    except FileNotFoundError as missing:
        print(f'Downloading the Debian package {PACKAGE} ...', flush=True)
        try:
            install(data_roots()[0] / FashionMNIST.folders[0], fetch_from_debian)
        except (OSError, RuntimeError) as error:
            print(
                f'{missing}\nThe Debian package failed: {error}\n'
                f'Run apt-get install {PACKAGE} as root, or copy the four *-ubyte.gz files there.',
                file=sys.stderr,
            )
            return 1
    for split in ('train', 'test'):
        dataset = FashionMNIST(split=split, download=False)
        print(f'Fashion-MNIST {split}: {len(dataset):,} images in {dataset.data_prefix["root"]}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
