"""What setup.cfg cannot say: configs and tools belong into the package as ``ltmm/.mim``, where MMEngine looks."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


def copy_to(mim: Path) -> None:
    """Copy configs, tools and the model index into a new folder."""
    mim.mkdir(parents=True)
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, mim / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy2(ROOT / name, mim / name)


class BuildWithMim(build_py):
    """Copies configs and tools into the build; an editable installation gets links to them."""

    def run(self) -> None:
        super().run()
        mim = Path(ROOT if self.editable_mode else self.build_lib, 'ltmm', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        if not self.editable_mode:
            copy_to(mim)
            return
        mim.mkdir()
        for name in SHIPPED:
            (mim / name).symlink_to(Path('..', '..', name))


class WheelForMim(bdist_wheel):
    """Copies configs and tools beside the metadata too, where ``mim`` looks.

    onedl-mim takes the folder of the first file that pip lists for the package. In an installed ltmm that is
    ``ltmm-<version>.dist-info``, which sorts before ``ltmm/``.
    """

    def write_wheelfile(self, wheelfile_base: str, *args: str) -> None:
        super().write_wheelfile(wheelfile_base, *args)
        if 'bdist_wheel' in self.distribution.commands:  # in an editable installation mim looks into the checkout
            copy_to(Path(wheelfile_base, '.mim'))


setup(cmdclass=dict(build_py=BuildWithMim, bdist_wheel=WheelForMim))
